import type { AppliedConfiguration } from '../domain/configuration.js';
import type { EdgeChange, EdgeRecord, RenderPlan } from '../domain/edge-change.js';
import { planChange } from '../domain/edge-plan.js';
import { BasculeError } from '../errors.js';
import { bringsCertificates } from './certificates.js';
import { diffConfigurations } from './diff.js';
import { type Edge, edgeFiles } from './edge.js';
import type { InstalledConfiguration } from './header.js';
import { examineApplied, formatApplied, readApplied, readInstalled, sha256 } from './installed.js';
import { renderConfiguration } from './render.js';

export interface RenderRequest {
  readonly change: EdgeChange;
  readonly record: EdgeRecord;
  /** Time of the change, RFC 3339. */
  readonly at: string;
  /** Version of Bascule. */
  readonly version: string;
  /** What shall be in force, where the change changes that. */
  readonly wantedApplied?: AppliedConfiguration;
}

/**
 * What the edge shall be after a change, and how that differs from what is installed. Touches nothing.
 *
 * @throws `edge-not-applied`, `applied-changed`, `environment-not-applied`, those of `readInstalled`
 */
export async function renderPlan(edge: Edge, request: RenderRequest): Promise<RenderPlan> {
  const { change, record } = request;
  const installed = await readInstalled(edge);
  const before = installed?.text ?? (await edge.host.readState(edgeFiles(edge).config));
  const { applied, digest: appliedDigest } = await appliedOf(edge, request);
  const environments = applied.configuration.environments.map((environment) => environment.name);
  const { states, histories } = planChange(change, record, environments, request.at);
  const rendered = renderConfiguration(applied, states);
  const isInstalled =
    installed?.digest === rendered.digest &&
    JSON.stringify(installed.states) === JSON.stringify(states) &&
    record.applied === appliedDigest;
  return {
    digest: rendered.digest,
    states,
    histories,
    applied: appliedDigest,
    // What a repair mends may lie outside of the configuration file.
    changed: !isInstalled || (change.repair === true && isAmiss(record)) || bringsCertificates(change, record),
    diff: cut(diffConfigurations(before, rendered.body, { before: 'installed', after: 'wanted' })),
    templateChange: await templateChange(edge, request.version, installed),
  };
}

/** Temporal carries it from step to step. */
const longestDiff = 64_000;
const cut = (diff: string): string => (diff.length <= longestDiff ? diff : `${diff.slice(0, longestDiff)}\n…\n`);

const isAmiss = (record: EdgeRecord): boolean => record.drift.length > 0 || record.needsOperator !== null;

async function appliedOf(
  edge: Edge,
  { record, wantedApplied }: RenderRequest,
): Promise<{ applied: AppliedConfiguration; digest: string }> {
  if (wantedApplied) {
    return { applied: wantedApplied, digest: sha256(formatApplied(wantedApplied)) };
  }
  const file = edgeFiles(edge).config;
  if (record.applied === null) throw new BasculeError('edge-not-applied', { host: edge.host.name, file });
  const inForce = await readApplied(edge);
  if (inForce?.digest !== record.applied) {
    throw new BasculeError('applied-changed', { expected: record.applied, found: inForce?.digest ?? null });
  }
  return inForce;
}

/** What this version renders differently from the one that installed the file, for the very same state. */
async function templateChange(
  edge: Edge,
  version: string,
  installed: InstalledConfiguration | null,
): Promise<string | null> {
  if (installed === null || installed.version === version) return null;
  const { applied } = await examineApplied(edge);
  if (applied === null) return null;
  const rendered = renderConfiguration(applied, installed.states);
  if (rendered.digest === installed.digest) return null;
  return cut(diffConfigurations(installed.text, rendered.body, { before: installed.version, after: version }));
}
