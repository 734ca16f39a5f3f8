import type { Claim, EdgeChange, EdgeRecord, RenderPlan, TakeBack } from '../domain/edge-change.js';
import { BasculeError } from '../errors.js';
import { installCertificates, restoreCertificates } from './certificates.js';
import { claimArguments, type Edge, edgeFiles, runAct } from './edge.js';
import { claimTakeBack } from './fence.js';
import { type InstalledConfiguration, restampConfiguration } from './header.js';
import { readInstalled, readKept, readStaged, sha256 } from './installed.js';
import { newProbe } from './stage.js';

/** The configuration that HAProxy has to prove, by both of these. */
export interface Target {
  readonly generation: number;
  readonly digest: string;
}

/**
 * Puts the staged configuration in the place of the installed one, which is kept as `<config>.<generation>`; likewise
 * applied.json where the plan has another one, and the certificates that the change brings. Done already is done.
 *
 * @throws `edge-claimed`, `edge-file-missing` where nothing is staged, `edge-file-changed` where another thing is,
 * and those of `runAct`
 */
export async function installConfiguration(
  edge: Edge,
  step: { change: EdgeChange; claim: Claim; record: EdgeRecord; plan: RenderPlan },
): Promise<Target> {
  const { claim, record, plan } = step;
  const target = { generation: claim.number, digest: plan.digest };
  // Nothing staged is right where an earlier try has installed it; the act knows, and looks at the claim first.
  const staged = await readStaged(edge);
  const isOurs = staged?.digest === target.digest && staged.generation === target.generation;
  const applied = plan.applied === record.applied ? 'same' : plan.applied;
  await installCertificates(edge, step.change, claim);
  await runAct(edge, {
    name: 'install',
    args: [...claimArguments(claim), isOurs ? sha256(staged.text) : 'none', applied],
    owner: claim.owner,
  });
  return target;
}

/**
 * Takes installConfiguration back: claims, and installs what readEdge recorded, forward, under the number of the new
 * claim; removes the configuration where there was none. Where nothing was installed, nothing is but the candidate removed.
 *
 * @returns the claim of the take-back, and what HAProxy has to prove now; null where there is nothing to run
 * @throws `edge-claimed`, `edge-file-missing`, `edge-file-changed`, and those of `runAct`
 */
export async function restoreConfiguration(
  edge: Edge,
  takeBack: TakeBack,
): Promise<{ readonly claim: Claim; readonly target: Target | null }> {
  const { record } = takeBack;
  const claim = await claimTakeBack(edge, takeBack);
  await restoreCertificates(edge, { ...takeBack, claim });
  const { content, target } = await earlierContent(edge, record, claim);
  await runAct(edge, {
    name: 'restore',
    args: [
      ...claimArguments(claim),
      content.kind === 'text' ? sha256(content.text) : content.kind,
      String(record.installed?.generation ?? 0),
      record.applied ?? 'none',
    ],
    owner: claim.owner,
    ...(content.kind === 'text' ? { input: content.text } : {}),
  });
  return { claim, target };
}

type Content = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'same' | 'none' };

async function earlierContent(
  edge: Edge,
  record: EdgeRecord,
  claim: Claim,
): Promise<{ content: Content; target: Target | null }> {
  const earlier = record.installed;
  if (earlier === null) return { content: { kind: 'none' }, target: null };
  const { generation, digest } = earlier;
  const installed = await readInstalled(edge);
  // HAProxy proves the digest of the header, also where the file was edited by hand.
  const targetOf = (file: InstalledConfiguration, number: number) => ({
    generation: number,
    digest: file.headerDigest,
  });
  if (installed?.digest === digest && [generation, claim.number].includes(installed.generation)) {
    return { content: { kind: 'same' }, target: targetOf(installed, installed.generation) };
  }
  const kept = await readKept(edge, generation);
  if (kept?.digest !== digest) {
    const place = { host: edge.host.name, act: 'restore', file: edgeFiles(edge).kept(generation) };
    throw new BasculeError(kept ? 'edge-file-changed' : 'edge-file-missing', place);
  }
  const text = restampConfiguration(kept.text, { generation: claim.number, probe: newProbe() });
  return { content: { kind: 'text', text }, target: targetOf(kept, claim.number) };
}
