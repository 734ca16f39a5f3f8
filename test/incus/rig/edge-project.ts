import { inject } from 'vitest';
import { quick } from '../../rig/chaos.js';
import { type Project, startProject } from '../../rig/project.js';
import { type Container, launchContainer } from './container.js';

export interface EdgeProject {
  readonly project: Project;
  /** Where the edge is. */
  readonly container: Container;
  stop(): Promise<void>;
}

/** A project whose edge is HAProxy of a container, as Debian's service, and whose instances are processes of this machine. */
export async function startEdgeProject(): Promise<EdgeProject> {
  const incusd = inject('incusd');
  const container = await launchContainer('edge');
  const configure = (yaml: string) =>
    withEdgeInInstance(yaml, container.name).replace(/addresses: .*/, `addresses: ${incusd.bridge.address}`);
  try {
    const project = await startProject({
      configure,
      edge: { address: container.address, port: 80 },
      env: incusd.env,
      failPoints: true,
    });
    return {
      project,
      container,
      async stop() {
        await project.stop();
        await container.remove();
      },
    };
  } catch (error) {
    await container.remove();
    throw error;
  }
}

/** examples/local.yaml with its edge in an instance of Incus, which listens on a port of each address. */
export const withEdgeInInstance = (yaml: string, instance: string, port = 80): string =>
  quick(yaml)
    .replace('host: { driver: local }', `host: { driver: incus, instance: ${instance} }`)
    .replace(/ {2}manage: .*\n/, '')
    .replace(/ {2}http: .*\n {2}files:\n(?: {4}.*\n)+/, `  http: "*:${port}"\n`);
