import { join } from 'node:path';
import type { Color } from '../domain/edge-state.js';
import { shaPattern } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import type { IncusClient } from '../hosts/incus-client.js';
import { isProcessAlive, type ProcessIdentity } from '../hosts/process-identity.js';

/** Where a component runs, and the folder with what is known of it, which is where it runs. */
export interface Instance {
  readonly host: Host;
  readonly name: string;
  readonly environment: string;
  readonly component: string;
  /** Null in multi-instance, where instances stand side by side. */
  readonly color: Color | null;
  readonly address: string;
  readonly port: number;
  /** The folder of all instances. */
  readonly directory: string;
  /** The edge's haproxy.cfg, whose header says which color is active; null where the edge was stopped for good. */
  readonly edgeConfig: string | null;
  /** The host of that file, where it is not the instance's own. */
  readonly edgeHost?: Host;
  /** Only where it is an instance of Incus; else it is a process of this machine. */
  readonly incus?: IncusPart;
}

/** What an instance of Incus is made from, and who it is for. */
export interface IncusPart {
  readonly client: IncusClient;
  /** Of Bascule. */
  readonly project: string;
  /** For which operation it was made; empty where that is not known yet. */
  readonly creator: string;
  /** Whom its program runs as. */
  readonly user: string;
  readonly image: string;
  readonly profiles: readonly string[];
  /** Where the edge notes which address belongs to which instance. */
  readonly addresses: string;
}

/** `<directory>/<instance>/record`, written by templates/instance-host.sh alone. */
export interface InstanceRecord {
  /** Who may act on the instance, null where nobody ever did. */
  readonly owner: string | null;
  /** The release that it holds, null where nothing was unpacked yet. */
  readonly sha: string | null;
  /** SHA-256 of that release's artifact. */
  readonly sha256: string | null;
  readonly wanted: 'running' | 'stopped';
  readonly process: ProcessIdentity | null;
  /** RFC 3339, null where it was never started. */
  readonly startedAt: string | null;
  /** How often the process ended by itself and was started again since it was deployed. */
  readonly restarts: number;
  readonly isFailed: boolean;
  /** Multi-instance: the edge is to lead no new visitor to it, since an operation replaces it. */
  readonly isDrained: boolean;
  /** Whether this process was ever healthy. */
  readonly isProven: boolean;
  /** See `environmentDigest`. */
  readonly environmentDigest: string | null;
  /** How long the log was when it got this release. */
  readonly logBegin: number;
}

/** An instance as it is: `starting` is a process that was not healthy yet, or one that ended and is started again. */
export interface InstanceStatus extends InstanceRecord {
  readonly state: InstanceState;
  readonly isAlive: boolean;
}

export type InstanceState = 'empty' | 'starting' | 'running' | 'failed' | 'stopped';

/** Files of an instance; templates/instance-host.sh knows the names for itself. */
export function instanceFiles(instance: Pick<Instance, 'directory' | 'name'>) {
  const folder = join(instance.directory, instance.name);
  return {
    folder,
    record: join(folder, 'record'),
    releases: join(folder, 'releases'),
    release: (sha: string, sha256: string): string => join(folder, 'releases', `${sha}-${sha256.slice(0, 12)}`),
    log: join(folder, 'log', 'current.log'),
    logTimes: join(folder, 'log', 'times'),
    temporary: join(folder, 'tmp'),
  };
}

/** The record of a process and what it amounts to. Throws `instance-record-damaged`. */
export async function readProcess(instance: Instance): Promise<InstanceStatus> {
  const text = await instance.host.readState(instanceFiles(instance).record);
  const record = parseRecord(instance, text ?? '');
  return statusOf(record, record.process ? await isProcessAlive(record.process) : false);
}

/** What a record amounts to. */
export const statusOf = (record: InstanceRecord, isAlive: boolean): InstanceStatus => ({
  ...record,
  state: stateOf(record, isAlive),
  isAlive,
});

/** Content of the record; an empty one where there is none. Throws `instance-record-damaged`. */
export function parseRecord(instance: Pick<Instance, 'directory' | 'name'>, text: string): InstanceRecord {
  const values = new Map<string, string>();
  for (const line of text.split('\n').filter((line) => line !== '')) {
    const end = line.indexOf('=');
    values.set(line.slice(0, end), line.slice(end + 1));
  }
  const file = instanceFiles(instance).record;
  const read = (name: string, isValid: (value: string) => boolean): string | null => {
    const value = values.get(name) ?? '';
    if (value === '') return null;
    if (isValid(value)) return value;
    throw new BasculeError('instance-record-damaged', {
      instance: instance.name,
      file,
      reason: `its ${name} is "${value}"`,
    });
  };
  const matches = (pattern: RegExp) => (value: string) => pattern.test(value);
  const isYesOrNo = matches(/^(?:yes|no)$/);

  const pid = read('pid', matches(/^[1-9]\d{0,9}$/));
  const startTime = read('start_time', matches(/^[0-9a-f-]{36}\/\d+$/));
  return {
    owner: read('owner', matches(/^\S+$/)),
    sha: read('sha', matches(shaPattern)),
    sha256: read('sha256', matches(/^[0-9a-f]{64}$/)),
    wanted: read('wanted', matches(/^(?:running|stopped)$/)) === 'running' ? 'running' : 'stopped',
    process: pid && startTime ? { pid: Number(pid), startTime } : null,
    startedAt: read('started_at', (value) => !Number.isNaN(Date.parse(value))),
    restarts: Number(read('restarts', matches(/^\d{1,9}$/)) ?? 0),
    isFailed: read('failed', isYesOrNo) === 'yes',
    isDrained: read('traffic', matches(/^(?:drained|admitted)$/)) === 'drained',
    isProven: read('proven', isYesOrNo) === 'yes',
    environmentDigest: read('environment_digest', matches(/^[0-9a-f]{64}$/)),
    logBegin: Number(read('log_begin', matches(/^\d{1,15}$/)) ?? 0),
  };
}

function stateOf(record: InstanceRecord, isAlive: boolean): InstanceState {
  if (record.sha === null) return 'empty';
  if (record.isFailed) return 'failed';
  if (record.wanted === 'stopped') return 'stopped';
  return isAlive && record.isProven ? 'running' : 'starting';
}
