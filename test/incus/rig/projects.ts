import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { provisionSchema } from '../../../src/cli/output-schema.js';
import { quick } from '../../rig/chaos.js';
import { type Project, type ProjectOptions, startProject } from '../../rig/project.js';
import { type Container, launchContainer, runIncus } from './containers.js';
import { freeSubnet, incus, newBridge, startEmptyIncusd, stopIncusd } from './incusd.js';

/** Incus's words for Node.js: what runs the tests runs the service, which the image lacks. It is of the same Debian. */
export const nodeDevice = ['node', 'disk', `source=${process.execPath}`, 'path=/usr/local/bin/node', 'readonly=true'];

export interface EdgeProject {
  readonly project: Project;
  /** Where the edge is. */
  readonly edge: Container;
  stop(): Promise<void>;
}

/** A project whose edge is HAProxy of a container, as Debian's service, and whose instances are processes of this machine. */
export const startEdgeProject = (): Promise<EdgeProject> =>
  startBesideEdge((yaml, edge) =>
    withEdgeInInstance(yaml, edge).replace(/addresses: .*/, `addresses: ${inject('incusd').bridge.address}`),
  );

/** examples/local.yaml with its edge in an instance of Incus, which listens on a port of each address. */
export const withEdgeInInstance = (yaml: string, instance: string, port = 80): string =>
  edgeInInstance(quick(yaml), instance, `  http: "*:${port}"\n`);

const edgeInInstance = (yaml: string, instance: string, lines: string): string =>
  yaml
    .replace('host: { driver: local }', `host: { driver: incus, instance: ${instance} }`)
    .replace(/ {2}manage: .*\n/, '')
    .replace(/ {2}http: .*\n {2}files:\n(?: {4}.*\n)+/, lines);

async function startBesideEdge(
  configure: (yaml: string, edge: string) => string,
  variables: Readonly<Record<string, string>> = {},
): Promise<EdgeProject> {
  const edge = await launchContainer('edge');
  try {
    const project = await startProject({
      configure: (yaml) => configure(yaml, edge.name),
      edge: { address: edge.address, port: 80 },
      env: { ...inject('incusd').env, ...variables },
      failPoints: true,
    });
    const stop = async () => {
      await project.stop();
      await edge.remove();
    };
    return { project, edge, stop };
  } catch (error) {
    await edge.remove();
    throw error;
  }
}

export interface InstanceProject extends EdgeProject {
  /** Before the names of its instances: those of staging have `staging-` behind it. */
  readonly prefix: string;
  /** Runs a command as root in an instance, and answers its stdout. */
  run(instance: string, ...argv: readonly string[]): Promise<string>;
}

/** Where the edge is, and what the names of instances begin with. */
interface Names {
  readonly edge: string;
  readonly prefix: string;
}

/** examples/local.yaml with everything in Incus. */
export const inIncus = (yaml: string, { edge, prefix }: Names): string =>
  edgeInInstance(yaml, edge, '  http: "*:80"\n  httpKeepAlive: 1s\n')
    .replaceAll(/ prefix: demo-([a-z-]*), hosts: (\[.*?\])/g, ` prefix: ${prefix}$1, hosts: $2, soak: 300ms, drain: 1s`)
    .replace(
      / {2}driver: process\n(?: {2}.*\n)+/,
      '  driver: incus\n  image: debian\n  domain: lxd\n  profiles: [default, app]\n',
    );

/** A project of which everything is in Incus: the edge is a container, and so is each instance, beside it. */
export async function startInstanceProject(
  configure: (yaml: string, names: Names) => string,
  variables: Readonly<Record<string, string>> = {},
): Promise<InstanceProject> {
  const prefix = `t${randomBytes(3).toString('hex')}-`;
  await runIncus('profile', 'create', 'app');
  const removeProfile = async () => void (await runIncus('profile', 'delete', 'app'));
  try {
    await runIncus('profile', 'device', 'add', 'app', ...nodeDevice);
    const { project, edge, stop } = await startBesideEdge(
      (yaml, name) => configure(yaml, { edge: name, prefix }),
      variables,
    );
    return {
      project,
      edge,
      prefix,
      run: async (instance, ...argv) => await runIncus('exec', instance, '--', ...argv),
      async stop() {
        await stop();
        const names = (await runIncus('list', '--format', 'csv', '--columns', 'n', prefix)).split('\n').filter(Boolean);
        if (names.length > 0) await runIncus('delete', '--force', ...names);
        await removeProfile();
      },
    };
  } catch (error) {
    await removeProfile();
    throw error;
  }
}

/** What a machine has for a project that is to be provisioned. */
export interface Place {
  readonly image: string;
  /** A name and a subnet that are free for a bridge. */
  readonly network: string;
  readonly subnet: string;
}

/** A project of which nothing is there yet: its daemon of Incus is as the package leaves it. */
export interface BareProject extends Place {
  readonly project: Project;
  readonly incus: typeof runIncus;
  /** `bascule provision --json` */
  provision(
    ...args: readonly string[]
  ): Promise<{ readonly exitCode: number } & ReturnType<typeof provisionSchema.parse>>;
  stop(): Promise<void>;
}

/** Its worker does not run yet. `edge` is where visitors come in. */
export async function startBareProject(
  configure: (yaml: string, place: Place) => string,
  { env = {}, edge }: Pick<ProjectOptions, 'env'> & { readonly edge: Project['edge'] },
): Promise<BareProject> {
  const incusd = await startEmptyIncusd();
  try {
    const place = { image: incusd.image, network: newBridge(), subnet: `${await freeSubnet()}/24` };
    const project = await startProject({
      configure: (yaml) => configure(yaml, place),
      edge,
      env: { ...incusd.env, ...env },
      failPoints: true,
    });
    return {
      ...place,
      project,
      incus: (...args) => incus(incusd.env, ...args),
      async provision(...args) {
        const { exitCode, document } = await project.json<unknown>('provision', ...args);
        return { exitCode, ...provisionSchema.parse(document) };
      },
      async stop() {
        await project.stop();
        await stopIncusd(incusd.directory);
      },
    };
  } catch (error) {
    await stopIncusd(incusd.directory);
    throw error;
  }
}
