import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import type { KeyKind } from '../domain/certificates.js';
import type { BindAddress } from '../domain/configuration.js';
import type { CertificatesChange, Claim, EdgeChange, EdgeRecord, ObtainedCertificate } from '../domain/edge-change.js';
import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import { claimArguments, type Edge, runAct } from './edge.js';
import { sha256 } from './installed.js';

/** Where HAProxy finds a certificate with its key. */
export const certificateFile = (edge: Edge, name: string): string =>
  join(edge.configuration.files.certificates, `${name}.pem`);

/** SHA-256 of the installed file of each certificate that a change is about, null where there is none. */
export async function installedCertificates(
  edge: Edge,
  change: EdgeChange,
): Promise<NonNullable<EdgeRecord['certificates']>> {
  const found = certificatesOf(change).map(async ({ name }) => {
    const text = await edge.host.readState(certificateFile(edge, name));
    return [name, text === null ? null : sha256(text)] as const;
  });
  return Object.fromEntries(await Promise.all(found));
}

/** Key, certificate and chain that are installed under a name, as PEM; null where there are none. */
export const readCertificateFile = async (edge: Edge, name: string): Promise<string | null> =>
  await edge.host.readText(certificateFile(edge, name));

/** Whether a change brings a certificate that is not installed already. */
export const bringsCertificates = (change: EdgeChange, record: EdgeRecord): boolean =>
  certificatesOf(change).some(({ name, sha256: digest }) => record.certificates?.[name] !== digest);

/**
 * Puts each certificate beside the installed ones, where HAProxy does not look, and has HAProxy check it there: one that it
 * does not read would keep all of it from starting.
 *
 * @param read gives key, certificate and chain as PEM
 * @throws `haproxy-refused`, `edge-file-changed`, and those of `runAct`
 */
export async function stageCertificates(
  edge: Edge,
  step: { change: EdgeChange; claim: Claim; read: (certificate: ObtainedCertificate) => Promise<string> },
): Promise<void> {
  const { change, claim, read } = step;
  for (const certificate of certificatesOf(change)) {
    const { name, sha256: digest } = certificate;
    await runAct(edge, {
      name: 'stage-certificate',
      args: [...claimArguments(claim), edge.configuration.files.certificates, name, digest],
      owner: claim.owner,
      input: await read(certificate),
    });
  }
}

/** Puts the staged certificates in their places; those there are kept. Throws those of `runAct`. */
export async function installCertificates(edge: Edge, change: EdgeChange, claim: Claim): Promise<void> {
  const wanted = certificatesOf(change).flatMap(({ name, sha256: digest }) => [name, digest]);
  await actOnCertificates(edge, 'install-certificates', claim, wanted);
}

/** Takes staging and installing back: what was there before is there again. Throws those of `runAct`. */
export async function restoreCertificates(
  edge: Edge,
  { change, record, claim }: { change: EdgeChange; record: EdgeRecord; claim: Claim },
): Promise<void> {
  const earlier = certificatesOf(change).flatMap(({ name }) => [name, record.certificates?.[name] ?? 'none']);
  await actOnCertificates(edge, 'restore-certificates', claim, earlier);
}

async function actOnCertificates(edge: Edge, name: string, claim: Claim, files: readonly string[]): Promise<void> {
  if (files.length === 0) return;
  const args = [...claimArguments(claim), edge.configuration.files.certificates, ...files];
  await runAct(edge, { name, args, owner: claim.owner });
}

const pollMs = 100;
const handshakeMs = 2_000;

/**
 * Asks the edge for each name over TLS, from its own host, until it shows the certificate of the change: written is not
 * served.
 *
 * @throws `certificate-not-served`
 */
export async function proveCertificates(
  edge: Edge,
  { certificates }: CertificatesChange,
  https: BindAddress,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const problems = (await Promise.all(certificates.map((each) => notServed(edge.host, https, each)))).flat();
    if (problems.length === 0) return;
    if (performance.now() > deadline) {
      throw new BasculeError('certificate-not-served', { host: edge.host.name, problems });
    }
    await sleep(pollMs);
  }
}

async function notServed(
  from: Host,
  https: BindAddress,
  { names, key, serial }: ObtainedCertificate,
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const name of names) {
    const served = await servedSerial(from, https, name, key);
    if (served !== serial)
      problems.push(`${name} is served ${served === null ? 'no certificate' : `certificate ${served}`}, not ${serial}`);
  }
  return problems;
}

/** Serial number, lower-case hexadecimal, of what is served for a name to who takes only keys of that kind; null where nothing is. */
export async function servedSerial(
  from: Host,
  https: BindAddress,
  servername: string,
  key: KeyKind,
): Promise<string | null> {
  return await new Promise((resolve) => {
    const socket = connect({
      socket: from.connect(https),
      servername,
      sigalgs: key === 'ecdsa' ? 'ECDSA+SHA256:ECDSA+SHA384' : 'RSA-PSS+SHA256:RSA-PSS+SHA384:RSA+SHA256',
      // Whether anybody trusts it was checked before it was installed.
      rejectUnauthorized: false,
    });
    const end = (serial: string | null) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(serial);
    };
    socket.once('secureConnect', () => end(socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? null));
    socket.on('error', () => end(null));
    const timer = setTimeout(() => end(null), handshakeMs);
  });
}

const certificatesOf = (change: EdgeChange): readonly ObtainedCertificate[] =>
  change.kind === 'certificates' ? change.certificates : [];
