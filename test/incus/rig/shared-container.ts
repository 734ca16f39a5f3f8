import { tmpdir } from 'node:os';
import { afterAll, inject } from 'vitest';
import { placeEdges } from '../../rig/test-host.js';
import { launchContainer } from './container.js';
import { incus } from './incusd.js';

/**
 * Has the edges of this file's tests in a container that has this machine's folder for temporary files: tests of an edge on
 * this machine, which look at its files, are run on one of Incus so.
 */
export async function placeEdgesInContainer(): Promise<void> {
  const { env, bridge } = inject('incusd');
  Object.assign(process.env, env);
  const container = await launchContainer('acts', ['security.privileged=true']);
  afterAll(() => container.remove());
  const place = [`source=${tmpdir()}`, `path=${tmpdir()}`];
  await incus(env, 'config', 'device', 'add', container.name, 'files', 'disk', ...place);
  placeEdges({ instance: container.name, address: container.address, bridge: bridge.address });
}
