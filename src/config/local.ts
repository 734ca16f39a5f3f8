import type { Configuration, LocalConfiguration } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';
import { loadConfiguration } from './load.js';

/**
 * As `loadConfiguration`, for whoever acts on the edge and its instances: the instances have to be on this machine.
 *
 * @throws `driver-not-here` beside those
 */
export async function loadLocalConfiguration(file: string): Promise<LocalConfiguration> {
  const configuration = await loadConfiguration(file);
  if (isLocal(configuration)) return configuration;
  throw new BasculeError('driver-not-here', { file });
}

const isLocal = (configuration: Configuration): configuration is LocalConfiguration =>
  configuration.instances.driver === 'process';
