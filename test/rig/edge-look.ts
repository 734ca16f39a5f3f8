import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Color, colors, type EnvironmentState } from '../../src/domain/edge-state.js';
import { type Edge, edgeFiles } from '../../src/haproxy/edge.js';
import { readInstalled } from '../../src/haproxy/installed.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { ask } from './ask.js';

/** All that an edge change may change, as a person on the host and a visitor see it. */
export interface EdgeLook {
  /** Of the header of haproxy.cfg. */
  readonly states: readonly EnvironmentState[];
  /** Of the body of haproxy.cfg. */
  readonly digest: string;
  /** HAProxy runs exactly the installed file. */
  readonly runsInstalled: boolean;
  /** Color and history files and applied.json, by name. */
  readonly stateFiles: Readonly<Record<string, string>>;
  /** Candidates and half-written files that lie about. */
  readonly leftovers: readonly string[];
  readonly needsOperator: string | null;
  /** Who answers a new visitor, by host and path. */
  readonly visitors: Readonly<Record<string, string>>;
}

const asked = [
  ['prod.localhost', '/'],
  ['prod.localhost', '/api/v1/things'],
  ['staging.localhost', '/'],
  ['staging.localhost', '/api/v1/things'],
] as const;

export async function lookAt(edge: Edge): Promise<EdgeLook> {
  const files = edgeFiles(edge);
  const installed = await readInstalled(edge);
  if (!installed) throw new Error('nothing is installed');
  const running = await readRunning(edge.configuration.files.socket, 5_000);
  const { state } = edge.configuration.files;
  const kept = (await readdir(state)).filter((name) => name.startsWith('active-color-') || name === 'applied.json');
  const names = [...(await readdir(dirname(files.config))), ...(await readdir(state))];
  return {
    states: installed.states,
    digest: installed.digest,
    runsInstalled: running?.digest === installed.headerDigest && running.generation === installed.generation,
    stateFiles: Object.fromEntries(
      await Promise.all(kept.sort().map(async (name) => [name, await readFile(`${state}/${name}`, 'utf8')] as const)),
    ),
    leftovers: names.filter((name) => /\.(?:staged|tmp)$/.test(name)),
    needsOperator: names.includes(basename(files.needsOperator)) ? await readFile(files.needsOperator, 'utf8') : null,
    visitors: Object.fromEntries(
      await Promise.all(
        asked.map(async ([host, path]) => [`${host}${path}`, await whoAnswers(edge, host, path)] as const),
      ),
    ),
  };
}

/** The color that answers every visitor of an environment; throws where there are two, or none. */
export function colorFor(look: EdgeLook, environment: string): Color {
  const answers = new Set(
    Object.entries(look.visitors)
      .filter(([place]) => place.startsWith(`${environment}.`))
      .map(([, answer]) => answer.split(' ')[1]),
  );
  const color = colors.find((one) => answers.has(one));
  if (answers.size !== 1 || !color) throw new Error(`${environment} answers ${[...answers].join(', ')}`);
  return color;
}

async function whoAnswers(edge: Edge, host: string, path: string): Promise<string> {
  const { status, body } = await ask(edge.configuration.http, host, path);
  if (status !== 200) return String(status);
  if (!body.startsWith('{')) return body;
  const { environment, color } = JSON.parse(body) as { environment: string; color: string };
  return `${environment} ${color}`;
}
