import { randomBytes } from 'node:crypto';
import type { AppliedConfiguration, BindAddress } from '../domain/configuration.js';
import type { Claim, EdgeRecord, RenderPlan, TakeBack } from '../domain/edge-change.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { programsAt } from '../hosts/listeners.js';
import { certificateFilesRefused } from './certificate-folder.js';
import { restoreCertificates } from './certificates.js';
import { claimArguments, type Edge, edgeFiles, runAct, runtimeSocket } from './edge.js';
import { claimEdge, claimTakeBack } from './fence.js';
import { stampConfiguration } from './header.js';
import { formatApplied, readApplied, readInstalled, sha256 } from './installed.js';
import { findProcesses } from './managed.js';
import { renderConfiguration } from './render.js';
import { readRunning } from './runtime.js';

export interface StageRequest {
  readonly record: EdgeRecord;
  readonly plan: RenderPlan;
  /** `<run id>/do`. */
  readonly owner: string;
  /** Version of Bascule, for the header. */
  readonly version: string;
  /** What shall be in force, where the change changes that. */
  readonly wantedApplied?: AppliedConfiguration;
  /** Writes the file of addresses, where it is not on the edge's host; there the edge's lock is no use to it. */
  readonly keepAddresses?: (file: string, text: string) => Promise<void>;
}

/** A random that visitors can't know: the edge names its servers only to a request that carries it. */
export const newProbe = (): string => randomBytes(16).toString('hex');

/**
 * Claims the edge and puts the candidate beside the installed file, where HAProxy itself has checked it. The addresses
 * that an apply gives out are kept before.
 *
 * @throws `edge-claimed`, `applied-changed`, `plan-changed`, `haproxy-refused`, `address-in-use`, and those of `runAct`
 */
export async function stageConfiguration(edge: Edge, request: StageRequest): Promise<Claim> {
  const { record, plan, owner } = request;
  const claim = await claimEdge(edge, { record, owner });
  // A retry after the installation: our own address is taken, by us.
  if ((await readInstalled(edge))?.generation === claim.number) return claim;
  const applied = await appliedOf(edge, request);
  const rendered = renderConfiguration(applied, plan.states);
  if (rendered.digest !== plan.digest) {
    throw new BasculeError('plan-changed', { expected: plan.digest, found: rendered.digest });
  }
  const text = stampConfiguration(rendered, {
    project: edge.project,
    generation: claim.number,
    probe: newProbe(),
    states: plan.states,
    version: request.version,
  });
  await assertNewAddressesAreFree(edge, text);
  const { edge: wanted, instances } = applied.configuration;
  if (request.wantedApplied && instances.addresses !== undefined) {
    const { addressBook } = instances;
    if (request.keepAddresses) await request.keepAddresses(addressBook, formatAddresses(applied));
    else await putFile(edge, 'keep-addresses', claim, formatAddresses(applied), addressBook);
  }
  await putFile(edge, 'stage', claim, text, wanted.https ? wanted.files.certificates : 'none');
  if (plan.applied !== record.applied) await putFile(edge, 'stage-applied', claim, formatApplied(applied));
  return claim;
}

/** Takes stageConfiguration and stageCertificates back: claims, and removes the candidates. */
export async function unstageConfiguration(edge: Edge, takeBack: TakeBack): Promise<Claim> {
  const claim = await claimTakeBack(edge, takeBack);
  await restoreCertificates(edge, { ...takeBack, claim });
  await runAct(edge, { name: 'unstage', args: claimArguments(claim), owner: claim.owner });
  return claim;
}

async function appliedOf(edge: Edge, { plan, wantedApplied }: StageRequest): Promise<AppliedConfiguration> {
  const applied = wantedApplied
    ? { applied: wantedApplied, digest: sha256(formatApplied(wantedApplied)) }
    : await readApplied(edge);
  if (applied?.digest !== plan.applied) {
    throw new BasculeError('applied-changed', { expected: plan.applied, found: applied?.digest ?? null });
  }
  return applied.applied;
}

const formatAddresses = ({ addresses }: AppliedConfiguration): string => `${JSON.stringify(addresses, null, 2)}\n`;

async function putFile(
  edge: Edge,
  name: 'keep-addresses' | 'stage' | 'stage-applied',
  claim: Claim,
  input: string,
  ...more: readonly string[]
): Promise<void> {
  try {
    const args = [...claimArguments(claim), sha256(input), ...more];
    await runAct(edge, { name, args, owner: claim.owner, input });
  } catch (error) {
    if (!isBasculeError(error) || error.code !== 'haproxy-refused') throw error;
    throw (await certificateFilesRefused(edge)) ?? withQuotedLines(error, input);
  }
}

/** HAProxy's messages say `[haproxy.cfg.staged:17]`; the candidate is removed again, so its lines are quoted. */
function withQuotedLines(error: BasculeError, text: string): BasculeError {
  const { host, output } = error.args as BasculeError<'haproxy-refused'>['args'];
  const lines = text.split('\n');
  const numbers = new Set([...output.matchAll(/\.staged:(\d+)\]/g)].map((match) => Number(match[1])));
  const quoted = [...numbers].map((number) => `  line ${number}: ${lines[number - 1]?.trim() ?? ''}`);
  return new BasculeError('haproxy-refused', { host, output, lines: quoted }, { cause: error });
}

/** `haproxy -c` does not notice a taken port, and a reload into one refuses visitors for a moment. */
async function assertNewAddressesAreFree(edge: Edge, text: string): Promise<void> {
  const running = await readRunning(runtimeSocket(edge));
  const installed = await edge.host.readState(edgeFiles(edge).config);
  // It was lost under a HAProxy that serves it: the addresses are taken, by that.
  if (running?.digest && installed === null) return;
  const runs = running !== null || (await findProcesses(edge, 0)) !== null;
  const bound = runs ? bindAddresses(installed ?? '') : [];
  for (const bind of bindAddresses(text)) {
    if (bound.some((each) => each.address === bind.address && each.port === bind.port)) continue;
    if (await edge.host.isAddressFree(bind)) continue;
    const listeners = await programsAt(edge.host, bind);
    throw new BasculeError('address-in-use', { host: edge.host.name, ...bind, listeners });
  }
}

function bindAddresses(text: string): readonly BindAddress[] {
  return [...text.matchAll(/^\s*(?:bind|stats socket)\s+([0-9.]+|\*):(\d+)(?:\s|$)/gm)].map((match) => ({
    address: match[1] ?? '*',
    port: Number(match[2]),
  }));
}
