import { Context } from '@temporalio/activity';
import { accountThumbprint } from '../acme/account.js';
import { adoptAccount } from '../acme/adopt.js';
import { revokeCertificate } from '../acme/revoke.js';
import { isReadable, readCertificate } from '../certificate-states.js';
import { withSignal } from '../client/abortable.js';
import { hasCertificateSchedule, keepCertificateSchedule } from '../client/certificate-schedule.js';
import { type CertificateFacts, isShortLived, planLooks, type RevocationReason } from '../domain/certificates.js';
import type {
  AppliedCertificates,
  AppliedConfiguration,
  CertificatesConfiguration,
  Configuration,
} from '../domain/configuration.js';
import type { ApplyChange, EdgeChange } from '../domain/edge-change.js';
import {
  type CertificateResult,
  type CertificatesPlan,
  type CertificatesRequest,
  coversNames,
  type PlannedCertificate,
  stateOf,
  wantedCertificates,
} from '../domain/issuance.js';
import { BasculeError } from '../errors.js';
import { readRefusedFiles } from '../haproxy/certificate-folder.js';
import { certificateFile } from '../haproxy/certificates.js';
import type { Edge } from '../haproxy/edge.js';
import { examineApplied, readApplied } from '../haproxy/installed.js';
import { asActivities } from './as-activities.js';
import { authorityOf, isDue, knownThumbprint, renewalWindowOf } from './authority.js';
import { certificatesOf, loadProject, type Project, readProject, type WorkerContext } from './project.js';

/** Planning certificates, and all that is asked of them but to obtain one. */
export function certificateActivities(context: WorkerContext) {
  /** Throws `challenges-elsewhere`. */
  async function open(): Promise<Project> {
    const project = await readProject(context);
    const { challenge } = project.configuration.certificates ?? {};
    if (challenge) {
      throw new BasculeError('challenges-elsewhere', { challenge: `${challenge.address}:${challenge.port}` });
    }
    return project;
  }

  return asActivities({
    async planCertificates({ request }: { request: CertificatesRequest }): Promise<CertificatesPlan> {
      const project = await open();
      const { configuration, edge } = project;
      const all = wantedCertificates(configuration.certificates);
      await planNextLooks(context, project);
      const asked = all.filter(
        ({ name, names }) => request.only?.some((one) => [name, names[0]].includes(one)) ?? true,
      );
      refuseUnknown(
        request.only ?? [],
        asked.flatMap(({ name, names }) => [name, names[0] ?? '']),
        all,
      );
      // What is damaged is mended by a repair, which comes here before.
      const { applied } = await examineApplied(edge);
      const wanted: PlannedCertificate[] = [];
      const kept: CertificateFacts[] = [];
      for (const certificate of asked) {
        const found = await readCertificate(edge, certificate.name);
        const why = await whyWanted(project, request, certificate, found, applied);
        if (why !== null) wanted.push({ ...certificate, why });
        else if (isReadable(found)) kept.push(found);
      }
      // HAProxy reads all of the folder or nothing: whatever is obtained could not be installed beside those.
      const replaced = wanted.map(({ name }) => certificateFile(edge, name));
      const files = wanted.length > 0 ? await readRefusedFiles(edge) : [];
      const remaining = files.filter(({ file }) => !replaced.includes(file));
      if (remaining.length > 0) {
        throw new BasculeError('certificate-files-refused', { host: edge.host.name, files: remaining });
      }
      // By what the authority has said by now.
      if (request.kind === 'renew') await planNextLooks(context, project);
      return {
        wanted,
        kept,
        isEdgeApplied: applied !== null,
        answersChallenges: wanted.length === 0 || (await isAnswering(project, applied)),
        warnings: unservedNames(project).map(
          (name) =>
            `no environment and no external site has the host ${name}: who visits it gets the page of unknown hosts`,
        ),
      };
    },

    /** Has the certificates looked at again when that is needed, by those that are installed by now. */
    async scheduleLooks({ retryAt }: { retryAt: readonly string[] }): Promise<void> {
      await planNextLooks(context, await open(), { retryAt, ask: true });
    },

    /** Waits for one that somebody else obtains. */
    async awaitCertificate({ id }: { id: string }): Promise<CertificateResult> {
      const { cancellationSignal } = Context.current();
      const { client } = context;
      return await withSignal(client, cancellationSignal, () => client.workflow.getHandle(id).result());
    },

    async revokeCertificate({ name, reason }: { name: string; reason: RevocationReason }): Promise<CertificateFacts> {
      const project = await open();
      const all = wantedCertificates(project.configuration.certificates);
      refuseUnknown(
        [name],
        all.map((one) => one.name),
        all,
      );
      const found = await readCertificate(project.edge, name);
      const file = certificateFile(project.edge, name);
      if (!isReadable(found)) throw new BasculeError('no-certificate', { name, file });
      const signal = Context.current().cancellationSignal;
      await revokeCertificate(authorityOf(project.edge, certificatesOf(project.configuration)), {
        ...{ name, file, reason, signal },
      });
      return found;
    },

    async adoptCertificates({ accountKey }: { accountKey: string | null }): Promise<{
      readonly certificates: readonly CertificateFacts[];
      readonly answersChallenges: boolean;
      readonly warnings: readonly string[];
    }> {
      const project = await open();
      const { configuration, edge } = project;
      if (accountKey !== null)
        await adoptAccount(authorityOf(project.edge, certificatesOf(project.configuration)), accountKey);
      const certificates: CertificateFacts[] = [];
      const warnings: string[] = [];
      for (const { name, names } of wantedCertificates(configuration.certificates)) {
        const found = await readCertificate(edge, name);
        const state = stateOf(found, names, Date.now());
        if (state !== 'valid' && state !== 'unreadable')
          warnings.push(`${certificateFile(edge, name)}: ${state}; \`bascule certs issue\` obtains another`);
        if (isReadable(found)) certificates.push(found);
      }
      const refused = configuration.edge.https ? await readRefusedFiles(edge) : [];
      warnings.push(...refused.map(({ file, reason }) => `${file}: ${reason}; HAProxy refuses the whole folder`));
      await planNextLooks(context, project);
      const applied = (await readApplied(edge))?.applied ?? null;
      return { certificates, answersChallenges: await isAnswering(project, applied), warnings };
    },
  });

  async function whyWanted(
    project: Project,
    request: CertificatesRequest,
    certificate: Omit<PlannedCertificate, 'why'>,
    found: CertificateFacts | 'unreadable' | null,
    applied: AppliedConfiguration | null,
  ): Promise<PlannedCertificate['why'] | null> {
    if (request.newOnly && !isNew(certificate, applied)) return null;
    if (found === null) return 'missing';
    if (found === 'unreadable') return 'refused by HAProxy';
    if (!coversNames(found, certificate.names)) return 'other names';
    if (request.force) return 'asked for';
    if (Date.parse(found.notAfter) <= Date.now()) return 'due';
    const { edge, configuration } = project;
    if (request.kind === 'renew' && (await isDue(edge, certificatesOf(configuration), found))) return 'due';
    return null;
  }
}

/** Has the certificates looked at, where that is lost or was never planned: when a worker begins. */
export async function restoreLooks(context: WorkerContext): Promise<void> {
  const project = await loadProject(context);
  const { certificates } = project.configuration;
  const isPlanned = await hasCertificateSchedule(context.client, context.project);
  if (wantedCertificates(certificates).length === 0 || !isPlanned) await planNextLooks(context, project);
}

/** Plans when the certificates are looked at by themselves: by their lives, and by what the authority wants. */
async function planNextLooks(
  { client }: WorkerContext,
  { configuration, edge }: Project,
  { retryAt = [], ask = false }: { readonly retryAt?: readonly string[]; readonly ask?: boolean } = {},
): Promise<void> {
  const { certificates, project } = configuration;
  const wanted = wantedCertificates(certificates);
  if (!certificates || wanted.length === 0) return await keepCertificateSchedule(client, project, null);
  const found = await Promise.all(wanted.map(async ({ name }) => await readCertificate(edge, name)));
  const installed = found.filter(isReadable);
  const windows = await Promise.all(
    installed.map(
      async (each) => await renewalWindowOf(edge, certificates, each, { ask: ask && isShortLived(installed) }),
    ),
  );
  const renewable = installed.map((certificate, index) => ({ certificate, window: windows[index] ?? null }));
  await keepCertificateSchedule(client, project, planLooks(renewable, retryAt, Date.now()));
}

/** Whether the edge answers challenges for the account; there may be no edge yet, which learns it as it is applied. */
async function isAnswering(project: Project, applied: AppliedConfiguration | null): Promise<boolean> {
  const thumbprint = await accountThumbprint(authorityOf(project.edge, certificatesOf(project.configuration)));
  return applied === null || applied.certificates?.thumbprint === thumbprint;
}

function refuseUnknown(
  asked: readonly string[],
  known: readonly string[],
  all: readonly Omit<PlannedCertificate, 'why'>[],
): void {
  const unknown = asked.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new BasculeError('unknown-certificate', { name: unknown, known: all.map(({ name }) => name) });
  }
}

/** Hosts of certificates that lead nowhere. */
function unservedNames({ configuration }: Project): readonly string[] {
  const served = new Set(
    [...configuration.environments, ...(configuration.external ?? [])].flatMap(({ hosts }) => hosts),
  );
  if (configuration.topology === 'multi-instance') return [];
  return (configuration.certificates?.domains ?? []).flat().filter((name) => !served.has(name));
}

/** Whether it is for names that the edge does not know of yet. */
function isNew({ names }: Pick<PlannedCertificate, 'names'>, applied: AppliedConfiguration | null): boolean {
  const known = applied?.configuration.certificates?.domains ?? [];
  return !known.some((list) => names.every((name) => list.includes(name)));
}

const madeByApply = 'made-by-the-first-apply';

/**
 * What the edge has to know of certificates; null where somebody else obtains them, or there are none.
 *
 * @param configuration the one that will be in force
 * @param change that it is for: what it brings will be there
 * @param asked what bascule.yaml says by now: it is that authority which asks the edge
 */
export async function appliedCertificates(
  edge: Edge,
  { certificates }: Configuration,
  { change, asked = certificates }: { change: EdgeChange; asked: CertificatesConfiguration | undefined },
): Promise<AppliedCertificates | null> {
  if (!certificates || !asked || wantedCertificates(certificates).length === 0) return null;
  const authority = authorityOf(edge, asked);
  const known = change.dryRun ? await knownThumbprint(authority) : await accountThumbprint(authority);
  const brought = change.kind === 'certificates' ? change.certificates.map(({ name }) => name) : [];
  const present: string[] = [];
  for (const [first = ''] of certificates.domains) {
    if (brought.includes(first) || isReadable(await readCertificate(edge, first))) present.push(first);
  }
  return { thumbprint: known ?? madeByApply, present };
}

/** Throws `certificates-missing` where new hosts have none yet. */
export async function refuseWithoutCertificates(
  edge: Edge,
  change: ApplyChange,
  wanted: AppliedConfiguration,
): Promise<void> {
  if (change.skipCertificates || change.dryRun) return;
  const { applied } = await examineApplied(edge);
  const missing: string[] = [];
  for (const certificate of wantedCertificates(wanted.configuration.certificates)) {
    if (!isNew(certificate, applied)) continue;
    const found = await readCertificate(edge, certificate.name);
    if (!isReadable(found) || !coversNames(found, certificate.names)) missing.push(certificate.name);
  }
  if (missing.length > 0) throw new BasculeError('certificates-missing', { names: missing });
}
