import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { type Project, startProject } from '../../rig/project.js';
import { type Container, launchContainer } from './container.js';
import { incus } from './incusd.js';

/** Where the edge is, and what the names of instances begin with. */
interface Names {
  readonly edge: string;
  readonly prefix: string;
}

export interface InstanceProject {
  readonly project: Project;
  /** Where the edge is. */
  readonly edge: Container;
  /** Before the names of its instances: those of staging have `staging-` behind it. */
  readonly prefix: string;
  /** Incus's own client, and its stdout. */
  incus(...args: readonly string[]): Promise<string>;
  /** Runs a command as root in an instance, and answers its stdout. */
  run(instance: string, ...argv: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Incus's words for Node.js: what runs the tests runs the service, which the image lacks. It is of the same Debian. */
export const nodeDevice = ['node', 'disk', `source=${process.execPath}`, 'path=/usr/local/bin/node', 'readonly=true'];

/** examples/local.yaml with everything in Incus. */
export const inIncus = (yaml: string, { edge, prefix }: Names): string =>
  yaml
    .replace('host: { driver: local }', `host: { driver: incus, instance: ${edge} }`)
    .replace(/ {2}manage: .*\n/, '')
    .replace(/ {2}http: .*\n {2}files:\n(?: {4}.*\n)+/, '  http: "*:80"\n  httpKeepAlive: 1s\n')
    .replace(
      'prefix: demo-staging-, hosts: [staging.localhost]',
      `prefix: ${prefix}staging-, hosts: [staging.localhost], soak: 300ms, drain: 1s`,
    )
    .replace(
      'prefix: demo-, hosts: [localhost, prod.localhost]',
      `prefix: ${prefix}, hosts: [localhost, prod.localhost], soak: 300ms, drain: 1s`,
    )
    .replace(
      / {2}driver: process\n(?: {2}.*\n)+/,
      '  driver: incus\n  image: debian\n  domain: lxd\n  profiles: [default, app]\n',
    );

/** A project of which everything is in Incus: the edge is a container, and so is each instance, beside it. */
export async function startInstanceProject(
  configure: (yaml: string, names: Names) => string,
  variables: Readonly<Record<string, string>> = {},
): Promise<InstanceProject> {
  const { env } = inject('incusd');
  const prefix = `t${randomBytes(3).toString('hex')}-`;
  const edge = await launchContainer('edge');
  const client = async (...args: readonly string[]) => await incus(env, ...args);
  const removeInstances = async () => {
    const list = JSON.parse(await client('list', '--format', 'json')) as { name: string }[];
    const names = list.map(({ name }) => name).filter((name) => name.startsWith(prefix));
    if (names.length > 0) await client('delete', '--force', ...names);
  };
  try {
    await client('profile', 'create', 'app');
    await client('profile', 'device', 'add', 'app', ...nodeDevice);
    const project = await startProject({
      configure: (yaml) => configure(yaml, { edge: edge.name, prefix }),
      edge: { address: edge.address, port: 80 },
      env: { ...env, ...variables },
      failPoints: true,
    });
    return {
      project,
      edge,
      prefix,
      incus: client,
      run: async (instance, ...argv) => await client('exec', instance, '--', ...argv),
      async stop() {
        await project.stop();
        await removeInstances();
        await client('profile', 'delete', 'app');
        await edge.remove();
      },
    };
  } catch (error) {
    await client('profile', 'delete', 'app').catch(() => undefined);
    await edge.remove();
    throw error;
  }
}
