import { createHash } from 'node:crypto';
import type { Color, EnvironmentState } from '../domain/edge-state.js';
import type { RenderedConfiguration } from './render.js';

/** A haproxy.cfg that Bascule wrote, as it lies on the edge. */
export interface InstalledConfiguration {
  readonly project: string;
  readonly generation: number;
  /** Of the text as it is now. */
  readonly digest: string;
  /** Of the text as it was written; another one than `digest` where the file was changed by hand. */
  readonly headerDigest: string;
  /** Version of Bascule that rendered it. */
  readonly version: string;
  readonly states: readonly EnvironmentState[];
  /** The random that makes a request a probe; empty where the line was taken out. */
  readonly probe: string;
  readonly text: string;
}

export interface Stamp {
  readonly project: string;
  readonly generation: number;
  readonly probe: string;
  /** In the order of the configuration. */
  readonly states: readonly EnvironmentState[];
  /** Version of Bascule. */
  readonly version: string;
}

const headerLine = /^# (?:bascule project|environment name)=.*\n/gm;
const projectLine = /^# bascule project=(\S+) generation=(\d+) digest=([0-9a-f]{64}) version=(\S+)$/m;
const environmentLine = /^# environment name=(\S+) color=(blue|green) sha=(\S+) standby=(\S+)$/gm;
const setenvLine = /^ *setenv BASCULE_(?:DIGEST|GENERATION|PROBE) .*\n/gm;

/** The whole file: header, and the body with digest, generation and probe in their lines. */
export function stampConfiguration(rendered: RenderedConfiguration, stamp: Stamp): string {
  const { project, generation, probe, states, version } = stamp;
  const { digest } = rendered;
  const header = [
    `# bascule project=${project} generation=${generation} digest=${digest} version=${version}`,
    ...states.map(
      ({ name, color, sha, standby }) =>
        `# environment name=${name} color=${color} sha=${sha ?? 'none'} standby=${standby ?? 'none'}`,
    ),
  ];
  return `${header.join('\n')}\n${withSetenv(rendered.body, { digest, generation, probe })}`;
}

/** The whole file for a person to read, as of no generation and with a probe that nobody needs to keep secret. */
export function stampPlaceholders(rendered: RenderedConfiguration, stamp: Omit<Stamp, 'generation' | 'probe'>): string {
  return stampConfiguration(rendered, { ...stamp, generation: 0, probe: 'placeholder' });
}

/** An earlier file that goes into force again: the same body and states under a new generation, with a new probe. */
export function restampConfiguration(
  text: string,
  { generation, probe }: { readonly generation: number; readonly probe: string },
): string {
  return withSetenv(text, { generation, probe }).replace(
    projectLine,
    (_line, project: string, _generation, digest: string, version: string) =>
      `# bascule project=${project} generation=${generation} digest=${digest} version=${version}`,
  );
}

/** Reads a haproxy.cfg; null where it has no header of Bascule. An environment's line that makes no sense is left out. */
export function parseInstalledConfiguration(text: string): InstalledConfiguration | null {
  const [, project, generation, headerDigest, version] = projectLine.exec(text) ?? [];
  if (!project || !generation || !headerDigest || !version) return null;
  return {
    project,
    generation: Number(generation),
    digest: digestOf(text),
    headerDigest,
    version,
    states: [...text.matchAll(environmentLine)].map(([, name = '', color, sha, standby]) => ({
      name,
      color: color as Color,
      sha: release(sha),
      standby: release(standby),
    })),
    probe: /^ *setenv BASCULE_PROBE (\S+)$/m.exec(text)?.[1] ?? '',
    text,
  };
}

/** SHA-256, 64 hex digits, of a haproxy.cfg without its header and without the three setenv lines of Bascule. */
export function digestOf(text: string): string {
  return createHash('sha256').update(withoutStamp(text)).digest('hex');
}

/** A haproxy.cfg without what differs from one installation of it to the next. */
export function withoutStamp(text: string): string {
  return text.replace(headerLine, '').replace(setenvLine, '');
}

function withSetenv(text: string, values: { digest?: string; generation: number; probe: string }): string {
  const { digest, generation, probe } = values;
  const set = (content: string, name: string, value: string | number) =>
    content.replace(new RegExp(`^( *setenv BASCULE_${name}) .*$`, 'm'), (_line, start: string) => `${start} ${value}`);
  const stamped = set(set(text, 'GENERATION', generation), 'PROBE', probe);
  return digest === undefined ? stamped : set(stamped, 'DIGEST', digest);
}

function release(value: string | undefined): string | null {
  return value === undefined || value === 'none' ? null : value;
}
