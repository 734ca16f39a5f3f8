import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BasculeError, isBasculeError } from '../errors.js';
import { runAct, runMigration } from './act.js';
import type { InstanceRelease, Program } from './claims.js';
import * as claims from './claims.js';
import {
  alignProfiles,
  asFull,
  type Container,
  deleteContainer,
  ensureContainer,
  findContainer,
  type IncusInstance,
  placeOf,
  startContainer,
} from './container.js';
import type { Ending, InstanceDriver } from './driver.js';
import { environmentDigest, programEnvironment, shellExports } from './environment.js';
import { problemsOf } from './examine.js';
import { readJournal } from './journal.js';
import {
  type Instance,
  type InstanceRecord,
  type InstanceStatus,
  instanceFiles,
  parseRecord,
  statusOf,
} from './record.js';
import {
  environmentFile,
  homeFolder,
  migrationUnit,
  releasesFolder,
  type Service,
  serviceUnit,
  sharedFolder,
} from './unit.js';
import { checkArtifact } from './unpack.js';

/** An artifact of some hundred MB is unpacked in less, also on a busy machine. */
const unpackMs = 15 * 60_000;
/** Over its own grace. */
const stopMs = 60_000;
const lookMs = 60_000;
const shownLines = 20;

/** As systemd has it for every service. */
const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Runs a program in a release's folder, with the environment of its service. */
const inRelease = `
cd "$1" || exit 126
set -a
. "$2"
set +a
shift 2
exec "$@"`;

/** Asks a service of this machine for its health, by the shell that Debian always has; answers the status. */
const asker = `
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 7
printf 'GET %s HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' "$2" "$4" >&3
IFS=' ' read -r -t "$3" _ status _ <&3 || exit 28
printf '%s' "$status"`;

/**
 * Instances of Incus, in each of which one component is a service of systemd. Acts are done in them, under the same record
 * and fence as those on processes; only to make one and to delete it are acts of Incus's own.
 */
export const incusDriver: InstanceDriver = {
  async readRecord(instance) {
    const found = await findContainer(ofIncus(instance));
    // One that does not run has no visitors to be kept from; and while its files are read Incus does not delete it.
    return found?.isRunning ? await recordOf(withCreator(instance, found)) : parseRecord(instance, '');
  },

  async readInstance(instance) {
    const found = await findContainer(ofIncus(instance));
    if (found === null) return statusOf(parseRecord(instance, ''), false);
    const known = withCreator(instance, found);
    return found.isRunning ? await readRunning(known) : statusOf(await recordOf(known), false);
  },

  async reserveInstance(instance, claim) {
    return await claims.reserveInstance(await made(instance, claim.owner), claim);
  },

  async retakeInstance(instance, claim) {
    const known = await present(instance);
    // One that there is not has no visitors to be kept from.
    return known ? await claims.retakeInstance(known, claim) : parseRecord(instance, '');
  },

  async admitInstance(instance, owner) {
    await claims.admitInstance(await required(instance), owner);
  },

  async recreateInstance(instance, claim) {
    const known = await made(instance, claim.owner, claim.signal);
    const record = await takeOver(known, claim);
    await alignProfiles(known);
    return record;
  },

  async killInstance(instance, claim) {
    const known = await required(instance);
    const { wanted } = await claims.claimInstance(known, claim);
    if (wanted === 'stopped') await runAct(known, { name: 'kill', args: [claim.owner], owner: claim.owner });
  },

  async prepareRelease(instance, release) {
    const known = await required(instance);
    const { owner, sha, sha256, artifact, signal, onProgress } = release;
    const found = await readRunning(known);
    if (found.owner !== owner) {
      throw new BasculeError('instance-fenced', {
        instance: instance.name,
        act: 'prepare',
        owner,
        heldBy: found.owner,
      });
    }
    if (found.wanted === 'running' && found.sha256 === sha256) return;
    const { paths, bytes } = await checkArtifact(artifact, release);
    const pushed = `${instanceFiles(instance).folder}/pushed-${randomUUID()}`;
    await push(known, artifact, pushed, { ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) });
    await runAct(known, {
      name: 'adopt',
      args: [owner, sha, sha256, pushed, String(paths), String(bytes)],
      owner,
      timeoutMs: unpackMs,
      ...(signal ? { signal } : {}),
    });
  },

  async pruneReleases(instance, prune) {
    await claims.pruneReleases(await required(instance), prune);
  },

  async migrateRelease(instance, migration) {
    const known = await required(instance);
    const { owner, sha, sha256, timeoutMs, signal } = migration;
    const unit = migrationUnit({ ...serviceOf(known, migration.run), timeoutMs });
    const end = await runMigration(known, {
      name: 'migrate',
      args: [owner, sha, sha256, String(Math.ceil(timeoutMs / 1_000))],
      owner,
      input: inputOf(known, unit, migration),
      timeoutMs: 2 * timeoutMs + 60_000,
      ...(signal ? { signal } : {}),
    });
    if (end === null) return;
    const lines = await lastLines(known, shownLines);
    if (end.kind === 'timed out')
      throw new BasculeError('migration-timed-out', { instance: instance.name, timeoutMs, lines });
    throw new BasculeError('migration-failed', { instance: instance.name, exitCode: end.exitCode, lines });
  },

  async startInstance(instance, start) {
    const known = await required(instance);
    const { owner, sha, sha256, env, stopGraceMs } = start;
    const unit = serviceUnit({ ...serviceOf(known, start.run), stopGraceMs });
    const args = [owner, sha, sha256, new Date().toISOString(), environmentDigest(env)];
    const act = { name: 'start', args, owner, input: inputOf(known, unit, start) };
    const record = parseRecord(instance, await runAct(known, act).catch(withLog(known)));
    if (record.process) return record.process;
    throw new BasculeError('instance-exited', { instance: instance.name, lines: await lastLines(known, shownLines) });
  },

  async markHealthy(instance, owner, healthy) {
    await claims.markHealthy(await required(instance), owner, healthy);
  },

  async markFailed(instance, claim) {
    const known = await present(instance);
    return known ? await claims.markFailed(known, claim) : true;
  },

  async disownInstance(instance, claim) {
    const known = await present(instance);
    return known ? await claims.disownInstance(known, claim) : true;
  },

  async removeInstance(instance, removal) {
    const { owner } = removal;
    const found = await findContainer(ofIncus(instance));
    if (found === null) return;
    const known = withCreator(instance, found);
    const isRetired = !found.isRunning && (await recordOf(known)).owner === owner;
    if (!isRetired) {
      await takeOver(await made(instance, owner, removal.signal), removal);
      await runAct(known, { name: 'retire', args: [owner], owner });
    }
    await deleteContainer(known, {
      isStillOurs: async () => (await recordOf(known)).owner === owner,
      ...(removal.signal ? { signal: removal.signal } : {}),
    });
  },

  async checkHealth(instance, { path, host }, signal) {
    const seconds = 5;
    const argv = ['bash', '-c', asker, 'ask', String(instance.port), path, String(seconds), host] as const;
    const { exitCode, stdout, stderr } = await instance.host.run(argv, {
      timeoutMs: lookMs,
      ...(signal ? { signal } : {}),
    });
    if (exitCode === 28) return { isHealthy: false, detail: `no answer within ${seconds} s` };
    const status = Number(stdout);
    if (exitCode !== 0) return { isHealthy: false, detail: stderr.includes('refused') ? 'ECONNREFUSED' : stderr };
    return { isHealthy: status >= 200 && status < 400, detail: stdout };
  },

  // Every instance has its own network, where 0.0.0.0 is nobody else's.
  async requireOwnAddress() {},
  async listensElsewhere() {
    return [];
  },

  async examineInstance(instance) {
    return problemsOf(instance, await incusDriver.readInstance(instance));
  },

  async readLog(instance, wish) {
    const found = await findContainer(ofIncus(instance));
    if (!found?.isRunning) return { lines: [], offset: wish.after ?? 0 };
    return await readJournal(withCreator(instance, found), wish);
  },

  lastLogLines: (instance, count) => lastLines(ofIncus(instance), count),

  async runInRelease(instance, { sha }, argv) {
    const { incus, component } = await required(instance);
    const folder = `${releasesFolder({ project: incus.project, component })}/${sha}`;
    const variables = `/etc/${incus.project}/${component}.env`;
    const command = ['runuser', '-u', incus.user, '--', 'sh', '-c', inRelease, 'exec', folder, variables, ...argv];
    const running = await incus.client.exec(command, process.env.TERM === undefined ? {} : { TERM: process.env.TERM });
    process.stdin.pipe(running.stdin);
    const shown = [
      pipeline(running.stdout, process.stdout, { end: false }),
      pipeline(running.stderr, process.stderr, { end: false }),
    ];
    const exitCode = await running.exitCode;
    await Promise.all(shown);
    process.stdin.unpipe(running.stdin);
    process.stdin.pause();
    running.stdin.destroy();
    return exitCode;
  },
};

/** What acts in an instance have half-written, and whoever does them was ended; of one that does not run nothing is known. */
export async function pathsLeftIn(instance: Instance): Promise<readonly string[]> {
  const found = await findContainer(ofIncus(instance));
  if (!found?.isRunning) return [];
  const { incus, component } = ofIncus(instance);
  const { folder } = instanceFiles(instance);
  const folders = [
    folder,
    `${folder}/unpacked`,
    releasesFolder({ project: incus.project, component }),
    `/etc/${incus.project}`,
    '/etc/systemd/system',
  ];
  const names = ['*.tmp', '*.partial', 'pushed-*', '.unpacked-*'].flatMap((name) => ['-o', '-name', name]).slice(1);
  const { stdout } = await instance.host.run(['find', ...folders, '-maxdepth', '1', '(', ...names, ')'], {
    timeoutMs: lookMs,
  });
  return stdout.split('\n').filter((path) => path !== '');
}

/** Throws where it is a process. */
export function ofIncus(instance: Instance): IncusInstance {
  const { incus, edgeHost } = instance;
  if (!incus || !edgeHost) throw new RangeError(`${instance.name} is no instance of Incus`);
  return { ...instance, incus, edgeHost };
}

/** Which operation it was made for is what its record begins with. */
function withCreator(instance: Instance, { creator }: Container): IncusInstance {
  const mine = ofIncus(instance);
  return { ...mine, incus: { ...mine.incus, creator } };
}

/** The instance, running; null where there is none. */
async function present(instance: Instance): Promise<IncusInstance | null> {
  const found = await findContainer(ofIncus(instance));
  if (found === null) return null;
  const known = withCreator(instance, found);
  await startContainer(known, found);
  return known;
}

/** The instance for an operation, which stops what runs in it. Throws those of `claimInstance`. */
async function takeOver(known: IncusInstance, claim: Ending): Promise<InstanceRecord> {
  const record = await claims.claimInstance(known, claim);
  if (record.wanted === 'stopped') await stop(known, claim);
  return record;
}

/** As `present`; throws `incus-instance-missing` where there is none. */
async function required(instance: Instance): Promise<IncusInstance> {
  const known = await present(instance);
  if (known) return known;
  throw new BasculeError('incus-instance-missing', placeOf(ofIncus(instance)));
}

/** As `present`; made for this owner where there is none. */
async function made(instance: Instance, owner: string, signal?: AbortSignal): Promise<IncusInstance> {
  const found = await ensureContainer(ofIncus(instance), owner, signal);
  const known = withCreator(instance, found);
  await startContainer(known, found);
  return known;
}

/** Its record, with what its systemd says. */
async function readRunning(instance: IncusInstance): Promise<InstanceStatus> {
  const record = parseRecord(
    instance,
    await runAct(instance, { name: 'look', args: [], owner: '', timeoutMs: lookMs }),
  );
  return statusOf(record, record.process !== null);
}

async function recordOf(instance: IncusInstance): Promise<InstanceRecord> {
  const text = await instance.host.readState(instanceFiles(instance).record);
  return parseRecord(instance, text ?? `owner=${instance.incus.creator}\n`);
}

async function stop(instance: IncusInstance, { owner, stopGraceMs, signal }: Ending): Promise<void> {
  const timeoutMs = stopGraceMs + stopMs;
  await runAct(instance, { name: 'stop', args: [owner], owner, timeoutMs, ...(signal ? { signal } : {}) });
}

const serviceOf = ({ incus, component, port }: IncusInstance, run: readonly string[]): Service => ({
  project: incus.project,
  component,
  user: incus.user,
  port,
  run,
});

/** The unit, and the environment with the secrets: over stdin, since arguments are seen by every user of the instance. */
function inputOf(instance: IncusInstance, unit: string, program: InstanceRelease & Program): string {
  const of = { project: instance.incus.project, component: instance.component };
  const everywhere = { PATH: path, HOME: homeFolder(of), LANG: 'C.UTF-8' };
  // In an instance of its own a program has every address to itself.
  const found = { ...program, data: sharedFolder(of) };
  const variables = programEnvironment({ ...instance, address: '0.0.0.0' }, found, everywhere);
  return shellExports({ UNIT: unit, VARIABLES: environmentFile(variables) });
}

async function push(
  instance: IncusInstance,
  artifact: string,
  to: string,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (bytes: number, size: number) => void },
): Promise<void> {
  const { size } = await stat(artifact);
  let bytes = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      onProgress?.(bytes, size);
      done(null, chunk);
    },
  });
  const content = createReadStream(artifact)
    .on('error', (error) => counted.destroy(error))
    .pipe(counted);
  try {
    await instance.incus.client.pushFile(to, content, { mode: 0o600, ...(signal ? { signal } : {}) });
  } catch (error) {
    // The part that is there takes the room in which it is to be noted that this has failed.
    await instance.host.remove(to).catch(() => undefined);
    throw await asFull(instance, 'to take its release', error);
  }
}

async function lastLines(instance: IncusInstance, count: number): Promise<readonly string[]> {
  const { logBegin } = await recordOf(instance);
  return (await readJournal(instance, { tail: count, from: logBegin })).lines;
}

/** What a service that could not be started says itself is in its journal. */
const withLog =
  (instance: IncusInstance) =>
  async (error: unknown): Promise<never> => {
    if (!isBasculeError(error) || error.code !== 'instance-not-started') throw error;
    throw new BasculeError('instance-not-started', {
      instance: instance.name,
      lines: await lastLines(instance, shownLines),
    });
  };
