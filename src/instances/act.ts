import { readFileSync } from 'node:fs';
import { BasculeError, isBasculeError } from '../errors.js';
import { installed } from '../installation.js';
import { fullError, noRoom } from './container.js';
import { type Instance, instanceFiles } from './record.js';

const template = (name: string): string => readFileSync(installed(`templates/${name}`), 'utf8');

const record = template('instance-record.sh');
const scripts = {
  process: `${record}\n${template('instance-host.sh')}`,
  incus: `${record}\n${template('instance-incus.sh')}`,
} as const;

/** Where an instance of Incus has its own programs. */
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Longer than the script waits for its lock. */
const actTimeoutMs = 60_000;

interface Act {
  readonly name: string;
  readonly args: readonly string[];
  /** For the message of a refusal. */
  readonly owner: string;
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How a migration ended that did not do its work; its output is in the instance's log. */
export interface MigrationEnd {
  readonly kind: 'failed' | 'timed out';
  readonly exitCode: string;
}

/**
 * Runs one act of templates/instance-host.sh, or of instance-incus.sh in the instance itself, under the instance's lock,
 * and answers its stdout. The script gets an empty environment but for PATH, so that nothing of the worker's reaches a
 * program that it starts.
 *
 * @throws `instance-fenced` or `instance-active` where it was refused; then nothing was touched. `instance-busy`,
 * `instance-write-failed`, `instance-release-missing`, `instance-still-running`, `migration-running`,
 * `command-not-found`, `instance-act-timed-out`, `instance-act-failed`, and those of `Host.run`; of Incus also
 * `incus-image-unfit`, `incus-full`, `instance-not-started`, `artifact-damaged`, `artifact-compression-unsupported`.
 */
export async function runAct(instance: Instance, act: Act): Promise<string> {
  const result = await runAnyAct(instance, act);
  if (typeof result === 'string') return result;
  throw new Error(`${act.name} ended as only a migration does`);
}

/** As `runAct`, for the one act that runs a program to its end: null where that went well. */
export async function runMigration(instance: Instance, act: Act): Promise<MigrationEnd | null> {
  const result = await runAnyAct(instance, act);
  return typeof result === 'string' ? null : result;
}

async function runAnyAct(instance: Instance, act: Act): Promise<string | MigrationEnd> {
  const { name, directory, environment, color } = instance;
  const place = [`${directory}/${name}`, await edgeConfigOf(instance), environment, color ?? 'none'];
  const script = instance.incus ? scripts.incus : scripts.process;
  const timeoutMs = act.timeoutMs ?? actTimeoutMs;
  const result = await instance.host
    .run(
      ['env', '-i', ...variablesOf(instance), 'sh', '-c', script, 'instance-host', act.name, ...place, ...act.args],
      {
        input: act.input ?? '',
        timeoutMs,
        ...(act.signal ? { signal: act.signal } : {}),
      },
    )
    .catch((error) => {
      if (!isBasculeError(error) || error.code !== 'command-timed-out') throw error;
      const { folder } = instanceFiles(instance);
      throw new BasculeError('instance-act-timed-out', { instance: name, act: act.name, folder, timeoutMs });
    });
  if (result.exitCode === 0) return result.stdout.trim();
  const lines = result.stderr.trimEnd().split('\n');
  const subject = lines.at(-1) ?? '';
  if (result.exitCode === 20) return { kind: 'failed', exitCode: subject };
  if (result.exitCode === 21) return { kind: 'timed out', exitCode: subject };
  const output = lines.slice(0, -1).join('\n');
  if (instance.incus && [13, 25].includes(result.exitCode) && noRoom.test(output)) {
    throw await fullError({ incus: instance.incus }, `to write ${subject}`, output);
  }
  throw errorOf(instance, act, { exitCode: result.exitCode, subject, output });
}

function variablesOf({ incus, component }: Instance): readonly string[] {
  if (!incus) return [`PATH=${process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin'}`];
  const { project, user, creator } = incus;
  return [
    `PATH=${systemPath}`,
    `PROJECT=${project}`,
    `COMPONENT=${component}`,
    `PROGRAM_USER=${user}`,
    `CREATOR=${creator}`,
  ];
}

/** The file that the act looks into for the active color; where it is on another host, that color as it is there now. */
async function edgeConfigOf({ edgeConfig, edgeHost, environment }: Instance): Promise<string> {
  if (edgeConfig === null) return '';
  if (!edgeHost) return edgeConfig;
  const header = `^# environment name=${environment} .*\\bcolor=([a-z]+)`;
  return `=${new RegExp(header, 'm').exec((await edgeHost.readState(edgeConfig)) ?? '')?.[1] ?? ''}`;
}

/** By what tar says: that the disk is full is not the artifact's fault. */
function notUnpacked(instance: string, file: string, reason: string): BasculeError {
  if (/No space left|quota exceeded|Read-only file system|Input\/output error/i.test(reason)) {
    return new BasculeError('instance-write-failed', { instance, file, reason });
  }
  if (/zstd/.test(reason))
    return new BasculeError('artifact-compression-unsupported', { file: `${file} in ${instance}` });
  return new BasculeError('artifact-damaged', { file, reason });
}

/** What a program of Bascule's needs and the image lacks; a system that merely boots for long may be waited for. */
function imageUnfit(instance: Instance, subject: string): BasculeError {
  const { place, image } = { place: instance.incus?.client.place, image: instance.incus?.image ?? '' };
  const named = { instance: instance.name, project: place?.project ?? 'default', remote: place?.remote ?? 'local' };
  if (subject === 'none')
    return new BasculeError('incus-image-unfit', { ...named, image, key: 'instances.image', next: 'deploy' });
  return new BasculeError('incus-refused', { ...named, what: 'to boot', reason: 'its systemd does not answer yet' });
}

/** Exit codes of the acts' texts. The act says in its last line what it is about. */
function errorOf(
  instance: Instance,
  act: Act,
  { exitCode, subject, output }: { exitCode: number; subject: string; output: string },
): BasculeError {
  const name = instance.name;
  switch (exitCode) {
    case 10:
      return new BasculeError('instance-fenced', {
        instance: name,
        act: act.name,
        owner: act.owner,
        heldBy: subject || null,
      });
    case 11:
      return new BasculeError('instance-busy', { instance: name, file: subject });
    case 12:
      return new BasculeError('instance-active', {
        instance: name,
        act: act.name,
        environment: instance.environment,
        color: subject,
      });
    case 13:
      return new BasculeError('instance-write-failed', { instance: name, file: subject, reason: output });
    case 15:
      return new BasculeError('instance-release-missing', { instance: name, sha: subject });
    case 17:
      return new BasculeError('instance-still-running', { instance: name, pid: subject });
    case 18:
      return new BasculeError('migration-running', { instance: name });
    case 19:
      return new BasculeError('command-not-found', { host: instance.host.name, program: subject });
    case 22:
      return imageUnfit(instance, subject);
    case 23:
      return new BasculeError('instance-not-started', { instance: name, lines: [] });
    case 24:
      return new BasculeError('instance-write-failed', {
        ...{ instance: name, file: subject, reason: 'it did not arrive whole' },
      });
    case 25:
      return notUnpacked(name, subject, output);
    default:
      return new BasculeError('instance-act-failed', {
        instance: name,
        act: act.name,
        exitCode,
        output: [output, subject].filter(Boolean).join('\n'),
      });
  }
}
