import { dryProvisionWorkflowId, provisionWorkflowId } from '../../../src/domain/names.js';
import type { ProvisionRequest } from '../../../src/domain/provision.js';
import { ofBascule } from './provision-world.js';
import type { Rig } from './rig.js';
import { project, type World } from './world.js';

/** Begins a provisioning, for an edge that has no configuration yet; answers its id. */
export async function beginProvision(rig: Rig, world: World, request: ProvisionRequest = {}): Promise<string> {
  const { edge, name } = world;
  edge.configures(ofBascule);
  const id = request.dryRun ? dryProvisionWorkflowId(project, name) : provisionWorkflowId(project, name);
  await rig.start('provision', id, [request]);
  return id;
}
