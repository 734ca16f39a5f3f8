import type { FoundSideBySide } from '../domain/provision.js';
import { isBasculeError } from '../errors.js';
import { ensureContainer, findContainer, startContainer } from './container.js';
import { readInstance } from './drivers.js';
import { ofIncus } from './incus.js';
import type { Instance } from './record.js';

/** That it belongs to nobody: whoever deploys to it first takes it. */
const nobody = '';

interface Providing {
  /** Whether releases are deployed to it; else somebody else looks after it, and may have made it. */
  readonly isDeployed: boolean;
}

/** What there is of an instance of Incus. Throws those of `findContainer`. */
export async function lookAtProvided(instance: Instance, { isDeployed }: Providing): Promise<FoundSideBySide> {
  try {
    const found = await findContainer(ofIncus(instance));
    if (found === null) return 'none';
    return found.isRunning ? 'running' : 'stopped';
  } catch (error) {
    if (isDeployed || !isBasculeError(error) || error.code !== 'incus-instance-foreign') throw error;
    return 'of somebody else';
  }
}

/**
 * Makes an instance of Incus that holds no release yet, and has it run. Throws those of `ensureContainer`, `startContainer`
 * and, of one that is deployed to, `incus-image-unfit`.
 */
export async function provideInstance(
  instance: Instance,
  { isDeployed, signal }: Providing & { readonly signal: AbortSignal },
): Promise<void> {
  const known = ofIncus(instance);
  await startContainer(known, await ensureContainer(known, nobody, signal));
  if (isDeployed) await readInstance(instance);
}
