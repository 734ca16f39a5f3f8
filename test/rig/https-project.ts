import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificatesStatus } from '../../src/domain/issuance.js';
import { type CaProxy, startCaProxy } from './ca-proxy.js';
import { quick } from './chaos.js';
import { type NameServer, startNameServer } from './name-server.js';
import { type Pebble, type PebbleOptions, startPebble } from './pebble.js';
import { freePort } from './ports.js';
import { type Project, startProject } from './project.js';
import { type ServedCertificate, servedCertificate } from './served-certificate.js';

/** A project whose edge serves https, with Let's Encrypt's test authority that asks it for challenges. */
export interface HttpsProject {
  readonly project: Project;
  readonly pebble: Pebble;
  /** In front of Pebble; what the project knows as its authority. */
  readonly authority: CaProxy;
  readonly names: NameServer;
  readonly https: { readonly address: string; readonly port: number };
  /** Writes bascule.yaml anew, with these certificates; each of their names is a host of prod. */
  configure(domains: readonly (readonly string[])[], more?: string): Promise<void>;
  /** The certificate that a visitor gets who trusts Pebble's root alone; null where there is none, or it is not for that name. */
  served(name: string): Promise<ServedCertificate | null>;
  status(): Promise<CertificatesStatus>;
  stop(): Promise<void>;
}

export async function startHttpsProject(
  domains: readonly (readonly string[])[],
  options: Partial<PebbleOptions> & {
    readonly env?: Readonly<Record<string, string>>;
    readonly failPoints?: boolean;
    readonly more?: string;
  } = {},
): Promise<HttpsProject> {
  const { env, failPoints = false, more = '', ...ofPebble } = options;
  const nameServer = `127.0.0.1:${await freePort()}`;
  const names = await startNameServer('127.0.0.1', Number(nameServer.split(':')[1]));
  const https = { address: '127.0.0.1', port: await freePort() };
  let base = '';
  const project = await startProject({
    failPoints,
    env: { BASCULE_NAME_SERVERS: nameServer, ...env },
    configure: (yaml) => {
      base = quick(yaml);
      return base;
    },
  });
  const pebble = await startPebble({ httpPort: project.edge.port, nameServer, ...ofPebble });
  const authority = await startCaProxy(pebble);
  const yamlOf = (lists: readonly (readonly string[])[], extra: string): string => {
    const hosts = lists.flat();
    for (const name of hosts) names.addresses.set(name, '127.0.0.1');
    return base
      .replace('  manage: true', `  https: "${https.address}:${https.port}"\n  manage: true`)
      .replace(
        'hosts: [localhost, prod.localhost]',
        `hosts: ${JSON.stringify(['localhost', 'prod.localhost', ...hosts])}`,
      )
      .concat(
        `\ncertificates:\n  ca: "${authority.directory}"\n  caFile: ${authority.caFile}\n  email: ops@shop.test\n  domains: ${JSON.stringify(lists)}\n${extra}`,
      );
  };
  const configure = async (lists: readonly (readonly string[])[], extra = more) =>
    await writeFile(join(project.directory, 'bascule.yaml'), yamlOf(lists, extra));
  await configure(domains);
  return {
    project,
    pebble,
    authority,
    names,
    https,
    configure,
    served: (name) => servedCertificate(https, name, pebble.issuingRoot),
    status: async () => (await project.json<CertificatesStatus>('certs', 'status')).document,
    async stop() {
      await project.stop();
      await authority.stop();
      await pebble.stop();
      await names.stop();
    },
  };
}

/** The PEM file of a certificate of the project. */
export const readPem = async ({ project }: HttpsProject, name: string): Promise<string> =>
  await readFile(join(project.directory, '.bascule/edge/certificates', `${name}.pem`), 'utf8');
