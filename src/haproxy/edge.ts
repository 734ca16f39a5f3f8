import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Configuration, EdgeConfiguration } from '../domain/configuration.js';
import type { Claim } from '../domain/edge-change.js';
import { BasculeError, isBasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import { installed } from '../installation.js';
import type { HaproxySocket } from './runtime.js';

/** One HAProxy configuration file on one host, and the project that owns it. */
export interface Edge {
  readonly host: Host;
  readonly project: string;
  readonly configuration: EdgeConfiguration;
}

/** The edge of a project, on the machine where its files are. */
export function edgeOf({ project, edge }: Pick<Configuration, 'project' | 'edge'>, host: Host): Edge {
  return { host, project, configuration: edge };
}

/** Every file of design's "State on the edge host" that is read here; the acts know the names for themselves. */
export function edgeFiles(edge: Edge) {
  const { config, state } = edge.configuration.files;
  return {
    config,
    staged: `${config}.staged`,
    kept: (generation: number): string => `${config}.${generation}`,
    generation: join(state, 'generation'),
    applied: join(state, 'applied.json'),
    needsOperator: join(state, 'needs-operator'),
    color: (environment: string): string => join(state, `active-color-${environment}`),
    history: (environment: string): string => join(state, `active-color-${environment}.history`),
    /** Of multi-instance. */
    releases: (environment: string): string => join(state, `releases-${environment}`),
    log: join(dirname(config), 'haproxy.log'),
  };
}

/** HAProxy's sockets on the edge's host: the runtime API's, and the master CLI's. */
export const runtimeSocket = ({ host, configuration }: Edge): HaproxySocket => ({
  host,
  path: configuration.files.socket,
});
export const masterSocket = ({ host, configuration }: Edge): HaproxySocket => ({
  host,
  path: configuration.files.masterSocket,
});

/** Where HAProxy takes Bascule's own requests to the sites, whatever clients do: beside the runtime API's socket. */
export const probeSocketPath = ({ files }: EdgeConfiguration): string => files.socket.replace(/(?:\.sock)?$/, '-ask$&');

const script = readFileSync(installed('templates/edge-host.sh'), 'utf8');

/** Longer than the script waits for its lock, `haproxy -c` included. */
const actTimeoutMs = 30_000;

interface Act {
  readonly name: string;
  readonly args: readonly string[];
  /** For the message of a refusal. */
  readonly owner: string;
  readonly input?: string;
}

/** Arguments with which every act but the claims begins. */
export const claimArguments = (claim: Claim): readonly string[] => [String(claim.number), claim.owner];

/**
 * Runs one act of templates/edge-host.sh on the edge's host, under the edge's lock, and answers its stdout.
 *
 * @throws `edge-claimed` where the fence refused it; then nothing was touched. `edge-locked`, `edge-write-failed`,
 * `edge-file-missing`, `edge-file-changed`, `edge-of-other-project`, `state-file-is-link`, `haproxy-refused`
 * (of `haproxy -c`, whose text is in `output`), `edge-act-timed-out`, `edge-act-failed`, and those of `Host.run`.
 */
export async function runAct(edge: Edge, act: Act): Promise<string> {
  const { config, state } = edge.configuration.files;
  const result = await edge.host
    .run(['sh', '-c', script, 'edge-host', act.name, edge.project, config, state, ...act.args], {
      input: act.input ?? '',
      timeoutMs: actTimeoutMs,
    })
    .catch((error) => {
      if (!isBasculeError(error) || error.code !== 'command-timed-out') throw error;
      const place = { host: edge.host.name, act: act.name, folder: dirname(config), timeoutMs: actTimeoutMs };
      throw new BasculeError('edge-act-timed-out', place, { cause: error });
    });
  if (result.exitCode !== 0) throw errorOf(edge, act, result.exitCode, result.stderr);
  return result.stdout.trim();
}

/** Closes the files of an installed edge to other users, where an earlier version left them open. Throws as `runAct`. */
export async function makePrivate(edge: Edge): Promise<void> {
  await runAct(edge, { name: 'make-private', args: [], owner: 'apply' });
}

/** Exit codes of templates/edge-host.sh. */
function errorOf(edge: Edge, act: Act, exitCode: number, stderr: string): BasculeError {
  const host = edge.host.name;
  // The act says in its last line what it is about; lines before it are those of the program that failed.
  const lines = stderr.trimEnd().split('\n');
  const subject = lines.at(-1) ?? '';
  const output = lines.slice(0, -1).join('\n');
  switch (exitCode) {
    case 10:
      return new BasculeError('edge-claimed', {
        host,
        act: act.name,
        owner: act.owner,
        heldBy: subject || null,
        file: act.name === 'record-releases' ? edgeFiles(edge).releases(act.args[0] ?? '') : edgeFiles(edge).generation,
      });
    case 11:
      return new BasculeError('edge-locked', { host, file: subject });
    case 12:
      return new BasculeError('haproxy-refused', { host, output, lines: [] });
    case 13:
      return new BasculeError('edge-write-failed', { host, file: subject, reason: output });
    case 14:
      return new BasculeError('state-file-is-link', { host, file: subject });
    case 15:
      return new BasculeError('edge-file-missing', { host, act: act.name, file: subject });
    case 16:
      return new BasculeError('edge-file-changed', { host, act: act.name, file: subject });
    case 17:
      return new BasculeError('edge-of-other-project', {
        host,
        file: edge.configuration.files.config,
        project: edge.project,
        owner: subject,
      });
    case 18:
      return new BasculeError('command-not-found', { host, program: subject });
    default:
      return new BasculeError('edge-act-failed', { host, act: act.name, exitCode, output: stderr.trim() });
  }
}
