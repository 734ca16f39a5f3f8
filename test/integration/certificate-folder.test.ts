import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeConfiguration } from '../../src/domain/configuration.js';
import { readRefusedFiles, setRefusedAside } from '../../src/haproxy/certificate-folder.js';
import type { Edge } from '../../src/haproxy/edge.js';
import { LocalHost } from '../../src/hosts/local.js';
import { writeCertificates } from '../rig/certificates.js';
import { newerHaproxyFolder } from '../rig/haproxy.js';

let root: string;
/** PEM texts that the cases are made of. */
const made = { certificate: '', key: '', otherKey: '', encrypted: '', encryptedEc: '', expired: '', chain: '' };
let newer: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'bascule-folder-'));
  newer = await newerHaproxyFolder();
  const [whole = '', other = ''] = await writeCertificates(root, [['shop.test'], ['other.test']]);
  const certificateOf = (pem: string) => pem.slice(pem.indexOf('-----BEGIN CERTIFICATE-----'));
  const keyOf = (pem: string) => pem.slice(0, pem.indexOf('-----BEGIN CERTIFICATE-----'));
  await writeFile(join(root, 'key'), keyOf(whole));
  const openssl = async (...args: readonly string[]) => (await execa('openssl', args)).stdout;
  const password = ['-passout', 'pass:secret'];
  const request = ['req', '-x509', '-key', join(root, 'key'), '-days', '2', '-subj', '/CN=shop.test'];
  Object.assign(made, {
    ...{ certificate: certificateOf(whole), key: keyOf(whole), otherKey: keyOf(other) },
    encrypted: `${await openssl('pkcs8', '-topk8', '-in', join(root, 'key'), ...password)}\n`,
    encryptedEc: `${await openssl('ec', '-in', join(root, 'key'), '-aes128', ...password)}\n`,
    expired: `${(await execa('faketime', ['2020-01-01', 'openssl', ...request])).stdout}\n`,
    chain: certificateOf(other),
  });
});
afterAll(async () => await rm(root, { recursive: true }));

let count = 0;
/** An edge of which nothing is there but the certificate folder, with one that is good. */
async function newEdge(): Promise<Edge> {
  count += 1;
  const certificates = join(root, `certificates-${count}`);
  await mkdir(certificates);
  await writeFile(join(certificates, 'shop.test.pem'), made.key + made.certificate);
  const files = { certificates, config: join(root, 'haproxy.cfg'), state: join(root, 'state') };
  const configuration = { files, https: { address: '127.0.0.1', port: 1 } } as unknown as EdgeConfiguration;
  return { host: new LocalHost(), project: 'demo', configuration };
}

/** What HAProxy itself says of the folder. */
async function isTaken({ configuration }: Edge, path: string): Promise<boolean> {
  const { certificates } = configuration.files;
  const bind = `bind 127.0.0.1:1 ssl crt ${certificates} strict-sni`;
  const file = `${certificates}.cfg`;
  await writeFile(file, `frontend f\n  mode http\n  timeout client 1s\n  ${bind}\n`);
  const { exitCode } = await execa('haproxy', ['-c', '-f', file], {
    ...{ reject: false, env: { PATH: path }, stdin: 'ignore', detached: true },
  });
  return exitCode === 0;
}

const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

/** Files that are put into the folder, and why the first of them is refused; null where all is taken. */
const cases: readonly (readonly [string, () => Readonly<Record<string, string>>, string | null])[] = [
  ['a certificate without its key', () => ({ 'fullchain.pem': made.certificate }), 'no private key'],
  ['one whose key has another name', () => ({ 'a.crt': made.certificate, 'a.key': made.key }), 'no private key'],
  ['one with its key beside it', () => ({ 'a.crt': made.certificate, 'a.crt.key': made.key }), null],
  ['one with a wrong key beside it', () => ({ 'a.crt': made.certificate, 'a.crt.key': made.otherKey }), 'not the one'],
  ['one with rubbish beside it', () => ({ 'a.crt': made.certificate, 'a.crt.key': 'x' }), 'no private key'],
  ['a key without a certificate', () => ({ 'privkey.pem': made.key }), 'no certificate'],
  ['a lone key by its name', () => ({ 'privkey.key': made.key }), null],
  ['an encrypted key', () => ({ 'a.pem': made.encrypted + made.certificate }), 'encrypted'],
  ['an encrypted key of OpenSSL', () => ({ 'a.pem': made.encryptedEc + made.certificate }), 'encrypted'],
  [
    'an encrypted key and a plain one beside it',
    () => ({ 'a.pem': made.encrypted + made.certificate, 'a.pem.key': made.key }),
    null,
  ],
  ['a key of another certificate', () => ({ 'a.pem': made.otherKey + made.certificate }), 'not the one'],
  ['the certificate before its key', () => ({ 'a.pem': made.certificate + made.key }), null],
  ['one that has expired', () => ({ 'a.pem': made.key + made.expired }), null],
  [
    'one with lines as Windows has them',
    () => ({ 'a.pem': (made.key + made.certificate).replaceAll('\n', '\r\n') }),
    null,
  ],
  ['a chain that is damaged', () => ({ 'a.pem': made.key + made.certificate + broken }), 'certificate 2 of its chain'],
  ['a chain of others', () => ({ 'a.pem': made.key + made.certificate + made.chain }), null],
  ['a certificate that is damaged', () => ({ 'a.pem': made.key + broken }), 'its certificate cannot be read'],
  ['a README', () => ({ README: 'Do not touch.\n' }), 'no certificate'],
  ['a copy that an editor left', () => ({ 'shop.test.pem.bak': 'x' }), 'no certificate'],
  ['a file that is empty', () => ({ 'a.pem': '' }), 'no certificate'],
  ['a dot file', () => ({ '.a.pem': 'x', '.shop.test.pem.kept': made.certificate }), null],
  ['an issuer', () => ({ 'shop.test.pem.issuer': 'x', 'other.ocsp': 'x', 'other.sctl': 'x' }), null],
];

describe('what is named as refused is what HAProxy refuses, of 2.6 and of 2.8', () => {
  const verdicts = async (edge: Edge) => {
    const path = process.env.PATH ?? '';
    return await Promise.all([path, `${newer}:${path}`].map(async (each) => await isTaken(edge, each)));
  };

  test.each(cases)('%s', async (_, files, reason) => {
    const edge = await newEdge();
    const { certificates } = edge.configuration.files;
    for (const [name, text] of Object.entries(files())) await writeFile(join(certificates, name), text);
    const [first = ''] = Object.keys(files());
    const named = reason === null ? [] : [{ file: join(certificates, first), reason: expect.stringContaining(reason) }];
    expect({ named: await readRefusedFiles(edge), taken: await verdicts(edge) }).toEqual({
      ...{ named, taken: [reason === null, reason === null] },
    });
  });

  test('a link that leads nowhere is, a folder, a pipe and a link to a good one are not', async () => {
    const edge = await newEdge();
    const { certificates } = edge.configuration.files;
    await mkdir(join(certificates, 'folder.pem'));
    await execa('mkfifo', [join(certificates, 'pipe.pem')]);
    await symlink(join(certificates, 'shop.test.pem'), join(certificates, 'link.pem'));
    await symlink('/nowhere', join(certificates, 'gone.key'));
    expect([await readRefusedFiles(edge), await verdicts(edge)]).toEqual([[], [true, true]]);
    const file = join(certificates, 'gone.pem');
    await symlink('/nowhere', file);
    expect(await readRefusedFiles(edge)).toEqual([{ file, reason: 'it is a link that leads nowhere' }]);
    expect(await verdicts(edge)).toEqual([false, false]);
  });

  test('a folder that is not there names nothing', async () => {
    const edge = await newEdge();
    await rm(edge.configuration.files.certificates, { recursive: true });
    expect(await readRefusedFiles(edge)).toEqual([]);
  });
});

test('one that is refused is put aside, where HAProxy does not look; a good one stays', async () => {
  const edge = await newEdge();
  const { certificates, state } = edge.configuration.files;
  await mkdir(state);
  await writeFile(join(certificates, 'a.test.pem'), made.certificate);
  for (const name of ['shop.test', 'a.test', 'a.test', 'none.test']) await setRefusedAside(edge, name);
  expect((await readdir(certificates)).toSorted()).toEqual(['.a.test.pem.refused', 'shop.test.pem']);
  expect(await readFile(join(certificates, '.a.test.pem.refused'), 'utf8')).toBe(made.certificate);
});
