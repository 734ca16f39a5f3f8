import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diagnosisSchema } from '../../src/cli/output-schema.js';
import { type HaproxySocket, RuntimeApi, readRunning } from '../../src/haproxy/runtime.js';
import { processesOf } from '../../src/hosts/processes.js';
import type { Project } from './project.js';

/** All that an act of a worker may change, by what it is: files, releases, processes, and servers as HAProxy sees them. */
export type ProjectLook = Readonly<Record<string, unknown>>;

/** What doctor finds. Tests that root runs have everything run as root: of that nothing is said. */
export async function findingsOf(project: Pick<Project, 'json'>) {
  const { document } = await project.json<unknown>('doctor');
  const findings = diagnosisSchema.parse(document).checks.flatMap((check) => check.findings);
  return findings.filter(({ code }) => code !== 'runs-as-root');
}

/** What writes to these is no act: programs, HAProxy, the lease. */
const notActs = /haproxy\.log|\.lock$|\/log\/|worker\.lease/;

/** What the number of a server's falls begins with. */
export const timesTaken = 'times that HAProxy took';

export async function lookAtProject({ directory }: Project): Promise<ProjectLook> {
  const state = join(directory, '.bascule');
  const socket = join(state, 'edge', 'haproxy.sock');
  // An act that starts one has its command line among its own words.
  const services = (await processesOf(directory)).filter(({ commandLine }) => commandLine[1] === 'server.mjs');
  return {
    ...(await filesOf(state)),
    migrations: await readFile(join(directory, 'migrations'), 'utf8').catch(() => ''),
    ...(await lookAtHaproxy(socket)),
    processes: services.map(({ pid }) => pid).sort(),
  };
}

/** What HAProxy runs, and its servers as it sees them. */
export async function lookAtHaproxy(socket: HaproxySocket): Promise<ProjectLook> {
  return { 'running configuration': await readRunning(socket, 2_000), ...(await timesDown(socket)) };
}

/** What differs, for a person; empty where nothing does. */
export function differences(before: ProjectLook, after: ProjectLook): string[] {
  const all = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  // A server whose own checks failed meanwhile, as on a busy machine, tells nothing.
  const names = all.filter((name) => !name.startsWith(timesTaken) || (name in before && name in after));
  const text = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value));
  return names
    .filter((name) => text(before[name]) !== text(after[name]))
    .map((name) => `${name}: ${text(before[name])} became ${text(after[name])}`);
}

/** Every file by its path; of a release, which takes thousands, its folder stands for all. */
async function filesOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found = await Promise.all(
    entries.map(async (entry): Promise<readonly [string, string] | null> => {
      const path = join(entry.parentPath, entry.name);
      const name = path.slice(folder.length + 1);
      if (notActs.test(name) || /\/releases\/[^/]+\//.test(name)) return null;
      if (entry.isDirectory()) return name.includes('/releases/') ? [name, 'a release'] : null;
      if (!entry.isFile()) return null;
      return [name, name.includes('artifacts/') ? 'an artifact' : await readFile(path, 'utf8')];
    }),
  );
  return Object.fromEntries(found.filter((each) => each !== null));
}

/** By server and number of its checks that failed: where that has grown, it was not an act that took it for down. */
async function timesDown(socket: HaproxySocket): Promise<Readonly<Record<string, string>>> {
  const answer = await new RuntimeApi(socket).command('show stat -1 4 -1 typed');
  const values = (field: string) =>
    new Map(
      [...answer.matchAll(new RegExp(`^S\\.(\\d+\\.\\d+)\\.\\d+\\.${field}\\.\\d+:\\w+:\\w+:(.*)$`, 'gm'))].map(
        ([, id = '', value = '']) => [id, value] as const,
      ),
    );
  const [names, failed] = [values('svname'), values('chkfail')];
  return Object.fromEntries(
    [...values('chkdown')].map(([id, times]) => [
      `${timesTaken} ${names.get(id)} for down, while ${failed.get(id)} checks failed`,
      times,
    ]),
  );
}
