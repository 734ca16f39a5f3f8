import { wantedConfiguration } from '../config/address-book.js';
import type { AppliedConfiguration } from '../domain/configuration.js';
import type { Claim, EdgeChange, EdgeRecord, RenderPlan, TakeBack } from '../domain/edge-change.js';
import { installedCertificates, stageCertificates } from '../haproxy/certificates.js';
import { makePrivate } from '../haproxy/edge.js';
import { installConfiguration, restoreConfiguration } from '../haproxy/install.js';
import { readApplied } from '../haproxy/installed.js';
import { clearNeedsOperator, markNeedsOperator } from '../haproxy/operator-mark.js';
import { readEdge } from '../haproxy/read-edge.js';
import { refuseToLeadAway, refuseUnlessReady } from '../haproxy/readiness.js';
import { recordColors, restoreColors } from '../haproxy/record.js';
import { reloadEdge, reloadRestored } from '../haproxy/reload.js';
import { renderPlan } from '../haproxy/render-plan.js';
import { stageConfiguration, unstageConfiguration } from '../haproxy/stage.js';
import { verifyTraffic } from '../haproxy/verify.js';
import { writePrivately } from '../hosts/private-files.js';
import { asActivities } from './as-activities.js';
import { readObtained } from './authority.js';
import { appliedCertificates, refuseWithoutCertificates } from './certificates.js';
import { certificatesOf, loadProject, type Project, readProject, type WorkerContext } from './project.js';

/** A reload takes a tenth of a second; a machine under load several. */
const reloadMs = 15_000;
/** How long visitors may still be answered by what is not wanted before the change is taken back. */
const verifyMs = 10_000;

interface Step {
  readonly change: EdgeChange;
  readonly record: EdgeRecord;
  readonly plan: RenderPlan;
}

/** The steps of switchEdge and their take-backs: Temporal's side of src/haproxy. */
export function edgeActivities(context: WorkerContext) {
  const { version } = context;

  /** What shall be in force, for a change that changes more than colors. */
  async function wantedOf(
    change: EdgeChange,
    { configuration, edge }: Pick<Project, 'configuration' | 'edge'>,
  ): Promise<AppliedConfiguration | null> {
    const changed =
      change.kind === 'apply'
        ? await wantedConfiguration(configuration)
        : change.kind === 'certificates'
          ? (await readApplied(edge))?.applied
          : null;
    if (!changed) return null;
    const { certificates: _, ...rest } = changed;
    const certificates = await appliedCertificates(edge, changed.configuration, {
      change,
      asked: configuration.certificates,
    });
    return certificates ? { ...rest, certificates } : rest;
  }

  async function open(change: EdgeChange) {
    const { configuration, edge, host } = await (change.kind === 'apply' ? readProject(context) : loadProject(context));
    const wantedApplied = await wantedOf(change, { configuration, edge });
    return { edge, configuration, host, wanted: wantedApplied ? { wantedApplied } : {} };
  }

  return asActivities({
    async readEdge({ change }: { change: EdgeChange }): Promise<EdgeRecord> {
      const { edge, wanted } = await open(change);
      const record = await readEdge(edge, { ...wanted, probe: true, version });
      await refuseUnlessReady(edge, change, record);
      if (change.kind === 'apply' && !change.dryRun && record.installed) await makePrivate(edge);
      if (change.kind === 'apply' && wanted.wantedApplied) {
        await refuseWithoutCertificates(edge, change, wanted.wantedApplied);
        await refuseToLeadAway(edge, wanted.wantedApplied, record.states);
      }
      if (change.kind !== 'certificates') return record;
      return { ...record, certificates: await installedCertificates(edge, change) };
    },

    async renderConfig(step: { change: EdgeChange; record: EdgeRecord; at: string }): Promise<RenderPlan> {
      const { edge, wanted } = await open(step.change);
      return renderPlan(edge, { ...step, ...wanted, version });
    },

    async stageConfig(step: Step & { owner: string }): Promise<Claim> {
      const { edge, configuration, host, wanted } = await open(step.change);
      const elsewhere = edge.host === host ? {} : { keepAddresses: writePrivately };
      const claim = await stageConfiguration(edge, { ...step, ...wanted, ...elsewhere, version });
      await stageCertificates(edge, {
        change: step.change,
        claim,
        read: (certificate) => readObtained(edge, certificatesOf(configuration), certificate),
      });
      return claim;
    },

    async unstageConfig(takeBack: TakeBack): Promise<void> {
      await unstageConfiguration((await loadProject(context)).edge, takeBack);
    },

    async installConfig(step: Step & { claim: Claim }): Promise<void> {
      await installConfiguration((await loadProject(context)).edge, step);
    },

    async restoreConfig(takeBack: TakeBack): Promise<void> {
      await restoreConfiguration((await loadProject(context)).edge, takeBack);
    },

    async reloadEdge(step: { claim: Claim; digest: string }): Promise<{ reloadedAt: string }> {
      const { edge } = await loadProject(context);
      const target = { generation: step.claim.number, digest: step.digest };
      await reloadEdge(edge, { claim: step.claim, target, timeoutMs: reloadMs });
      return { reloadedAt: new Date().toISOString() };
    },

    async reloadRestored(takeBack: TakeBack): Promise<void> {
      await reloadRestored((await loadProject(context)).edge, takeBack, reloadMs);
    },

    async verifyTraffic(step: Step): Promise<void> {
      await verifyTraffic((await loadProject(context)).edge, { ...step, timeoutMs: verifyMs });
    },

    async recordColor(step: Step & { claim: Claim }): Promise<void> {
      const { edge } = await loadProject(context);
      await recordColors(edge, step);
      if (step.change.repair) await clearNeedsOperator(edge, step.claim);
    },

    async restoreColors(takeBack: TakeBack & { plan: RenderPlan }): Promise<void> {
      await restoreColors((await loadProject(context)).edge, takeBack);
    },

    async markNeedsOperator(mark: { message: string; remedy: string; takeBack: TakeBack }): Promise<void> {
      const { edge } = await loadProject(context);
      await markNeedsOperator(edge, { text: `${mark.message}\n${mark.remedy}`, takeBack: mark.takeBack });
    },
  });
}
