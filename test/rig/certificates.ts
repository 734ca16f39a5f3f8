import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/**
 * Writes `<first name>.pem` (key and certificate) for each list of names, each signed by itself.
 *
 * @returns the files' content, for a client to trust these certificates and no others
 */
export async function writeCertificates(
  folder: string,
  domains: readonly (readonly string[])[],
  key: keyof typeof keys = 'ecdsa',
): Promise<readonly string[]> {
  return await Promise.all(domains.map(async (names) => await writeCertificate(folder, names, keys[key])));
}

/** Writes `<authority>.pem`, and `<name>.pem` (key and certificate) for each name, signed by that authority. */
export async function writeIssuedCertificates(
  folder: string,
  authority: string,
  names: readonly string[],
): Promise<void> {
  await writeCertificate(folder, [authority], keys.ecdsa);
  const issuer = join(folder, `${authority}.pem`);
  for (const name of names) {
    const file = join(folder, `${name}.pem`);
    const request = join(folder, `${name}.csr`);
    const extensions = join(folder, `${name}.ext`);
    await writeFile(extensions, `subjectAltName=DNS:${name}\nbasicConstraints=CA:FALSE\n`);
    await execa('openssl', [
      ...['req', '-new', '-newkey', ...keys.ecdsa, '-nodes', '-subj', `/CN=${name}`],
      ...['-keyout', file, '-out', request],
    ]);
    const { stdout } = await execa('openssl', [
      ...['x509', '-req', '-in', request, '-days', '2', '-CA', issuer, '-CAkey', issuer],
      ...['-set_serial', `${names.indexOf(name) + 1}`, '-extfile', extensions],
    ]);
    await appendFile(file, stdout);
  }
}

const keys = {
  ecdsa: ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  rsa: ['rsa:2048'],
};

async function writeCertificate(folder: string, names: readonly string[], key: readonly string[]): Promise<string> {
  const [first = 'localhost'] = names;
  const file = join(folder, `${first}.pem`);
  const alternatives = names.map((name) => `DNS:${name}`).join(',');
  await execa('openssl', [
    ...['req', '-x509', '-newkey', ...key, '-nodes', '-days', '2'],
    ...['-subj', `/CN=${first}`, '-addext', `subjectAltName=${alternatives}`],
    ...['-keyout', file, '-out', file],
  ]);
  return await readFile(file, 'utf8');
}
