import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { makeRelease, type Release } from './artifacts.js';
import { connectTemporal, mustSucceed, until } from './chaos.js';
import { isFailPointHit, setFailPoint } from './fail-point.js';
import { type Project, type ProjectOptions, startProject } from './project.js';
import { type Stream, startVisitors, type Visitors } from './visitors.js';

/** The file of the seed's lab. */
export const labExample = fileURLToPath(new URL('../../examples/lab.yaml', import.meta.url));

/** The components of examples/lab.yaml. */
export const labComponents = ['backend', 'stream'] as const;

/**
 * examples/lab.yaml with processes of this machine, which Bascule deploys, in place of containers; with one instance of
 * `stream`, and with waits so short that an instance is replaced in a second or two.
 */
export async function startLab(
  options: Omit<ProjectOptions, 'configure'> & { readonly configure?: (yaml: string) => string } = {},
): Promise<Project> {
  const lab = await readFile(labExample, 'utf8');
  const { configure = (yaml) => yaml, ...rest } = options;
  const project = await startProject({
    ...rest,
    failPoints: true,
    configure: (local) => configure(withProcesses(lab, local)),
  });
  try {
    await project.startWorker();
    await mustSucceed(project, 'apply');
    return project;
  } catch (error) {
    await project.stop();
    throw error;
  }
}

function withProcesses(lab: string, local: string): string {
  const [, http = ''] = / http: (\S+)/.exec(local) ?? [];
  const [, addresses = ''] = / addresses: (\S+)/.exec(local) ?? [];
  return lab
    .replace(/^ {2}host: .*\n/m, '  httpKeepAlive: 1s\n')
    .replace('http: "*:80"', `http: ${http}`)
    .replace(/^ {2}runtime: .*\n/m, '')
    .replace(/^ {4}fallback: .*\n/m, '')
    .replace('[stream-server-1, stream-server-2]', '[stream-server-1]')
    .replace(/^ {4}slowStart: .*\n/m, '')
    .replaceAll('interval: 5s', 'interval: 300ms')
    .replaceAll(/^ {4}instances: .*\n/gm, '$&    startDeadline: 12s\n    run: ["node", "server.mjs"]\n')
    .replace(/^instances:\n[\s\S]*/m, `instances: { addresses: ${addresses} }\n`)
    .concat(
      'artifacts:\n  url: file:./artifacts/{component}/{sha}/{component}-{sha}.tar.gz\n  checksum: "{url}.sha256"\n',
    );
}

/** A release of both components. */
export async function releaseLab(
  { directory }: Project,
  sha: string,
  more: Pick<Release, 'unhealthy' | 'crash' | 'files'> = {},
): Promise<void> {
  await Promise.all(labComponents.map((component) => makeRelease({ directory, component, sha, ...more })));
}

/** Names of its instances, in the order of `status`. */
export const labInstances = ['backend-api-1', 'backend-api-2', 'stream-server-1'] as const;

/** The release on record, those before it, and what each instance is and holds. */
export interface LabLook {
  readonly sha: string | null;
  readonly history: readonly string[];
  readonly instances: readonly string[];
}

export async function lookAtLab(project: Project): Promise<LabLook> {
  const [only] = (await project.look()).environments;
  if (only?.colors !== null) throw new Error('instances side by side have no colors');
  return {
    sha: only.sha,
    history: only.history.map(({ sha }) => sha),
    instances: only.instances.map(({ instance, sha, state, health }) => `${instance}: ${state} ${sha} ${health}`),
  };
}

/** `instances` of a look at a lab all of whose instances serve a release. */
export const allServing = (sha: string, names: readonly string[] = labInstances): readonly string[] =>
  names.map((name) => `${name}: running ${sha} UP L7OK`);

/** Some visitors of its component `backend`, with a cookie and without, and others where there are `more`. */
export const visitLab = (project: Project, maxSeconds = 170, more: readonly Stream[] = []): Promise<Visitors> =>
  startVisitors({
    target: project.edge,
    maxSeconds,
    streams: [
      ...more,
      { host: 'lab.test', path: '/', kind: 'keep-alive', perSecond: 20 },
      { host: 'lab.test', path: '/api/v1/things', kind: 'cookie', perSecond: 20 },
      { host: 'lab.test', path: '/api/v1/things', kind: 'cookie', method: 'POST', perSecond: 5 },
      { host: 'lab.test', path: '/', kind: 'new', perSecond: 10 },
    ],
  });

/**
 * Aborts a failover test while its instance is down and its worker stands still. The next worker hears of that and of what
 * the test was at in the same moment: it ends as aborted, or, where the instance was started again by then, as it would have.
 */
export async function abortWhileDown(
  project: Project,
  begin: () => Promise<{ readonly exitCode: number | undefined; readonly message: string }>,
): Promise<void> {
  await setFailPoint(project, { activity: 'waitUntilDown', moment: 'before', nth: 1, how: 'stop' });
  const running = begin();
  await until('the worker stands still', async () => isFailPointHit(project));
  // Before it is asked: one that stands still would be given the question, and take it along.
  await project.killWorker();
  // As Temporal's UI does: a command would wait for the worker.
  const temporal = await connectTemporal(project);
  await temporal.signal('veza/environment/default', 'abort', { why: 'enough' });
  await temporal.close();
  project.spawnWorker();
  const { exitCode, message } = await running;
  expect({ exitCode, message }).toEqual(
    exitCode === 0
      ? { exitCode, message: expect.stringContaining('after its start') }
      : { exitCode: 1, message: 'aborted: enough' },
  );
}
