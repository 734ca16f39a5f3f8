import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { BasculeError } from '../errors.js';
import { certificateFile } from './certificates.js';
import { type Edge, runAct } from './edge.js';
import { sha256 } from './installed.js';

/** A file of the certificate folder that HAProxy refuses: then it loads none of the folder, and starts with nothing. */
export interface RefusedFile {
  readonly file: string;
  /** Such as `it holds no certificate`. */
  readonly reason: string;
}

const findMs = 10_000;
const checkMs = 20_000;
const certificatePattern =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;
const keyPattern = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/;

/** HAProxy 2.4 to 2.8: what begins with a dot, or belongs to another file, is no certificate to it; neither is a folder. */
export const isCompanion = (name: string): boolean => /^\.|\.(?:key|issuer|ocsp|sctl)$/.test(name);

/** Each file of the certificate folder that HAProxy refuses, by name. */
export async function readRefusedFiles(edge: Edge): Promise<readonly RefusedFile[]> {
  const { certificates } = edge.configuration.files;
  const [files, links] = await Promise.all([namesOf(edge, 'f'), namesOf(edge, 'l')]);
  const refused = files
    .filter((name) => !isCompanion(name))
    .map(async (name) => {
      const file = join(certificates, name);
      const reason = await whyFileRefused(edge, file);
      return reason === null ? [] : [{ file, reason }];
    });
  const dangling = links
    .filter((name) => !isCompanion(name))
    .map((name) => ({ file: join(certificates, name), reason: 'it is a link that leads nowhere' }));
  return [...(await Promise.all(refused)).flat(), ...dangling].toSorted((a, b) => (a.file < b.file ? -1 : 1));
}

/** Names of files, or of links that lead nowhere. What is neither, such as a folder or a pipe, is nothing to HAProxy. */
async function namesOf({ host, configuration }: Edge, type: 'f' | 'l'): Promise<readonly string[]> {
  const { certificates } = configuration.files;
  const find = ['find', '-L', certificates, '-maxdepth', '1', '-type', type] as const;
  // Without the folder there is nothing to name: that is told elsewhere.
  const { stdout } = await host.run([...find], { timeoutMs: findMs });
  return stdout
    .split('\n')
    .filter((path) => path.startsWith(`${certificates}/`))
    .map((path) => path.slice(certificates.length + 1));
}

/** Why HAProxy refuses a file of the certificate folder; null where it takes it, or where there is none. */
export async function whyFileRefused({ host }: Edge, file: string): Promise<string | null> {
  try {
    const pem = await host.readText(file);
    if (pem === null) return null;
    const keyFile = hasUsableKey(pem) ? null : await host.readText(`${file}.key`);
    return whyRefused(pem, keyFile);
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/**
 * Why HAProxy refuses a PEM text as a certificate; null where it takes it. Dates are nothing to it.
 *
 * @param keyFile what `<file>.key` holds, null where there is none: the key is taken from there where the file has none
 */
export function whyRefused(pem: string, keyFile: string | null): string | null {
  const texts = pem.match(certificatePattern) ?? [];
  if (texts.length === 0) return 'it holds no certificate';
  const chain = texts.map(readCertificate);
  const unreadable = chain.indexOf(null);
  if (unreadable === 0) return 'its certificate cannot be read';
  if (unreadable > 0) return `certificate ${unreadable + 1} of its chain cannot be read`;

  const own = keyIn(pem);
  const key = typeof own === 'object' ? own : keyFile === null ? own : keyIn(keyFile);
  if (key === 'none') return 'it holds no private key, and beside it there is no `.key` file with one';
  if (key === 'encrypted') return 'its private key is encrypted, and HAProxy would ask for a password';
  if (key === 'unreadable') return 'its private key cannot be read';
  return chain[0]?.checkPrivateKey(key) ? null : 'its private key is not the one of its certificate';
}

const hasUsableKey = (pem: string): boolean => typeof keyIn(pem) === 'object';

function keyIn(pem: string): KeyObject | 'none' | 'encrypted' | 'unreadable' {
  const [text, kind] = keyPattern.exec(pem) ?? [];
  if (text === undefined) return 'none';
  if (kind === 'ENCRYPTED PRIVATE KEY' || text.includes('Proc-Type: 4,ENCRYPTED')) return 'encrypted';
  try {
    return createPrivateKey(text);
  } catch {
    return 'unreadable';
  }
}

function readCertificate(text: string): X509Certificate | null {
  try {
    return new X509Certificate(text);
  } catch {
    return null;
  }
}

/** The error that names files of the certificate folder which keep HAProxy from loading anything; null where none does. */
export async function certificateFilesRefused(edge: Edge): Promise<BasculeError<'certificate-files-refused'> | null> {
  if (!edge.configuration.https) return null;
  const files = await readRefusedFiles(edge);
  return files.length === 0 ? null : new BasculeError('certificate-files-refused', { host: edge.host.name, files });
}

/**
 * Refuses what would change the edge while files of the certificate folder keep HAProxy from loading anything. HAProxy has
 * the last word: where it takes what is installed, nothing is wrong.
 *
 * @throws `certificate-files-refused`
 */
export async function assertCertificateFiles(edge: Edge): Promise<void> {
  const refused = await certificateFilesRefused(edge);
  if (!refused) return;
  const check = ['haproxy', '-c', '-f', edge.configuration.files.config] as const;
  const { exitCode } = await edge.host.run([...check], { timeoutMs: checkMs });
  if (exitCode !== 0) throw refused;
}

/**
 * Puts a file that HAProxy refuses aside, as `.<name>.pem.refused`, for the certificate that takes its place. Nothing is
 * done where it is another one by now. Throws those of `runAct`.
 */
export async function setRefusedAside(edge: Edge, name: string): Promise<void> {
  const { certificates } = edge.configuration.files;
  const file = certificateFile(edge, name);
  const [pem, reason] = [await edge.host.readState(file), await whyFileRefused(edge, file)];
  if (pem === null || reason === null) return;
  await runAct(edge, { name: 'set-certificate-aside', args: [certificates, name, sha256(pem)], owner: '' });
}
