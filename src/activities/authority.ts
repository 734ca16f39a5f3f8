import { Context } from '@temporalio/activity';
import { accountThumbprint, registerAccount } from '../acme/account.js';
import type { Authority, Patience } from '../acme/authority.js';
import { answerChallenges } from '../acme/challenges.js';
import { downloadCertificate, finalizeOrder, readDownloaded } from '../acme/finalize.js';
import { beginOrder, closeOrder } from '../acme/order.js';
import { accountFiles } from '../acme/places.js';
import { checkNames } from '../acme/preflight.js';
import { knownRenewalWindow, renewalWindow } from '../acme/renewal.js';
import { readSecret } from '../config/secrets.js';
import {
  type CertificateFacts,
  type CertificateOrder,
  type RenewalWindow,
  renewalDue,
  type WantedCertificate,
} from '../domain/certificates.js';
import type { CertificatesConfiguration } from '../domain/configuration.js';
import type { ObtainedCertificate } from '../domain/edge-change.js';
import { type DownloadedCertificate, type PlannedCertificate, wantedCertificates } from '../domain/issuance.js';
import { setRefusedAside } from '../haproxy/certificate-folder.js';
import { certificateFile } from '../haproxy/certificates.js';
import type { Edge } from '../haproxy/edge.js';
import { asActivities } from './as-activities.js';
import { certificatesOf, loadProject, type WorkerContext } from './project.js';

interface Step {
  readonly certificate: PlannedCertificate;
}

/** How long one try may wait for the authority, in ms: the next one goes on where it ended. */
const tryMs = 120_000;

/** The steps of `certificate`, as far as an authority is asked: Temporal's side of src/acme. */
export function authorityActivities(context: WorkerContext) {
  async function open({ certificate }: Step) {
    const { configuration, edge } = await loadProject(context);
    const certificates = certificatesOf(configuration);
    const { name, names, key } = certificate;
    const { profile } = certificates;
    const wanted: WantedCertificate = { name, names, key, ...(profile !== undefined && { profile }) };
    return { edge, certificates, authority: authorityOf(edge, certificates), wanted };
  }

  const patience = (): Patience => ({ signal: Context.current().cancellationSignal, timeLimitMs: tryMs });

  return asActivities({
    async checkNames(step: Step): Promise<{ readonly warnings: readonly string[] }> {
      const { edge, authority, wanted } = await open(step);
      return await checkNames(authority, wanted, {
        edge: edge.configuration.http,
        thumbprint: await accountThumbprint(authority),
        ...nameServers(),
        signal: Context.current().cancellationSignal,
      });
    },

    async registerAccount(step: Step): Promise<void> {
      const { authority, certificates } = await open(step);
      const { email, eab } = certificates;
      const externalAccount = eab && { keyId: eab.keyId, key: await readSecret(eab.key, 'certificates.eab.key') };
      await registerAccount(authority, {
        ...(email !== undefined && { email }),
        ...(externalAccount && { externalAccount }),
        signal: Context.current().cancellationSignal,
      });
    },

    async placeOrder(step: Step): Promise<CertificateOrder> {
      const { edge, authority, wanted } = await open(step);
      const replaces = certificateFile(edge, wanted.name);
      return await beginOrder(authority, wanted, { replaces, signal: Context.current().cancellationSignal });
    },

    async answerChallenges(step: Step): Promise<void> {
      const { authority, wanted } = await open(step);
      await answerChallenges(authority, wanted.name, patience());
    },

    async finalizeOrder(step: Step): Promise<void> {
      const { authority, wanted } = await open(step);
      await finalizeOrder(authority, wanted, patience());
    },

    async downloadCertificate(step: Step): Promise<DownloadedCertificate> {
      const { edge, certificates, authority, wanted } = await open(step);
      const { facts, sha256 } = await downloadCertificate(authority, wanted, patience());
      // Any that HAProxy refuses would keep it from taking this one; each has its own obtained beside this one.
      for (const other of wantedCertificates(certificates)) await setRefusedAside(edge, other.name);
      const { name, names, key } = wanted;
      return { ...facts, obtained: { name, names, key, serial: facts.serial, sha256 } };
    },

    async closeOrder(step: Step): Promise<void> {
      const { authority, wanted } = await open(step);
      await closeOrder(authority, wanted.name);
    },
  });
}

/** Those of BASCULE_NAME_SERVERS, for a machine that is told other addresses than everybody else; else the machine's. */
function nameServers(): { readonly nameServers?: readonly string[] } {
  const given = (process.env.BASCULE_NAME_SERVERS ?? '').split(',').filter((server) => server !== '');
  return given.length === 0 ? {} : { nameServers: given };
}

export const authorityOf = ({ host, configuration }: Edge, { ca, caFile }: CertificatesConfiguration): Authority => ({
  host,
  state: configuration.files.state,
  directory: ca,
  ...(caFile !== undefined && { caFile }),
});

/** As `accountThumbprint`, and makes no key: null where there is none. */
export async function knownThumbprint(authority: Authority): Promise<string | null> {
  const key = await authority.host.readState(accountFiles(authority).key);
  return key === null ? null : await accountThumbprint(authority);
}

/** Whether a certificate is to be renewed now, by its authority where that says so. */
export async function isDue(
  edge: Edge,
  certificates: CertificatesConfiguration,
  installed: CertificateFacts,
): Promise<boolean> {
  return renewalDue(installed, Date.now(), await renewalWindowOf(edge, certificates, installed));
}

/** When the authority wants an installed certificate to be renewed; what it said last where it is not to be asked. */
export async function renewalWindowOf(
  edge: Edge,
  certificates: CertificatesConfiguration,
  { name }: CertificateFacts,
  { ask = true } = {},
): Promise<RenewalWindow | null> {
  const certificate = { name, file: certificateFile(edge, name) };
  return await (ask ? renewalWindow : knownRenewalWindow)(authorityOf(edge, certificates), certificate);
}

/** Key, certificate and chain of one that was obtained, as PEM. */
export const readObtained = async (
  edge: Edge,
  certificates: CertificatesConfiguration,
  { name, sha256 }: ObtainedCertificate,
): Promise<string> => await readDownloaded(authorityOf(edge, certificates), { name, sha256 });
