import { createHash } from 'node:crypto';
import type { AppliedConfiguration } from '../domain/configuration.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { type Edge, edgeFiles } from './edge.js';
import { type InstalledConfiguration, parseInstalledConfiguration } from './header.js';

/**
 * The installed haproxy.cfg, or null where there is none, or none that Bascule wrote.
 *
 * @throws `edge-of-other-project`, `state-file-is-link`
 */
export async function readInstalled(edge: Edge): Promise<InstalledConfiguration | null> {
  return await readConfiguration(edge, edgeFiles(edge).config);
}

/** As `readInstalled`, for one of the kept files. */
export async function readKept(edge: Edge, generation: number): Promise<InstalledConfiguration | null> {
  return await readConfiguration(edge, edgeFiles(edge).kept(generation));
}

/** As `readInstalled`, for the candidate. */
export async function readStaged(edge: Edge): Promise<InstalledConfiguration | null> {
  return await readConfiguration(edge, edgeFiles(edge).staged);
}

/**
 * `<state>/applied.json` with the SHA-256 of its text, or null where there is none.
 *
 * @throws `edge-state-unreadable`, `edge-of-other-project`
 */
export async function readApplied(
  edge: Edge,
): Promise<{ readonly applied: AppliedConfiguration; readonly digest: string } | null> {
  const file = edgeFiles(edge).applied;
  const text = await edge.host.readState(file);
  if (text === null) return null;
  return { applied: parseApplied(edge, file, text), digest: sha256(text) };
}

/**
 * As `readApplied`, for what has to go on where its content makes no sense: then `problem` says why, and the digest is
 * the one of that content.
 *
 * @throws `edge-of-other-project`
 */
export async function examineApplied(edge: Edge): Promise<{
  readonly applied: AppliedConfiguration | null;
  readonly digest: string | null;
  readonly problem: string | null;
}> {
  const file = edgeFiles(edge).applied;
  const text = await edge.host.readState(file);
  if (text === null) return { applied: null, digest: null, problem: null };
  const digest = sha256(text);
  try {
    return { applied: parseApplied(edge, file, text), digest, problem: null };
  } catch (error) {
    if (!isBasculeError(error) || error.code === 'edge-of-other-project') throw error;
    return { applied: null, digest, problem: error.message };
  }
}

/** Content of applied.json. */
export function formatApplied(applied: AppliedConfiguration): string {
  return `${JSON.stringify(applied, null, 2)}\n`;
}

/** Whether a configuration is the one in force. Which certificates there are is no matter of bascule.yaml. */
export function isApplied(inForce: AppliedConfiguration | null, wanted: AppliedConfiguration): boolean {
  if (inForce === null) return false;
  const { certificates: _, ...asWritten } = inForce;
  return formatApplied(asWritten) === formatApplied(wanted);
}

/** SHA-256 of a text, as 64 hex digits. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

async function readConfiguration(edge: Edge, file: string): Promise<InstalledConfiguration | null> {
  const text = await edge.host.readState(file);
  const installed = text === null ? null : parseInstalledConfiguration(text);
  if (installed && installed.project !== edge.project) {
    const { project } = edge;
    throw new BasculeError('edge-of-other-project', { host: edge.host.name, file, project, owner: installed.project });
  }
  return installed;
}

function parseApplied(edge: Edge, file: string, text: string): AppliedConfiguration {
  const damaged = (reason: string) => new BasculeError('edge-state-unreadable', { host: edge.host.name, file, reason });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : String(error));
  }
  if (typeof value !== 'object' || value === null || !('schemaVersion' in value))
    throw damaged('it has no schemaVersion');
  if (value.schemaVersion !== 1)
    throw damaged(`its schemaVersion is ${String(value.schemaVersion)}, this Bascule reads 1`);
  if (!('configuration' in value)) throw damaged('it has no configuration');
  // Only Bascule writes it, whole, and its SHA-256 is compared before it is used.
  const applied = value as AppliedConfiguration;
  const { project: owner } = applied.configuration;
  if (owner !== edge.project) {
    throw new BasculeError('edge-of-other-project', { host: edge.host.name, file, project: edge.project, owner });
  }
  return applied;
}
