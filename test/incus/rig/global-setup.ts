import type { TestProject } from 'vitest/node';
import { type Incusd, startIncusd, stopIncusd } from './incusd.js';
import raiseLimits from './limits.js';

declare module 'vitest' {
  interface ProvidedContext {
    incusd: Incusd;
  }
}

/** One daemon for all files, which are run one after the other: some of them kill it. Each has containers of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const restoreLimits = await raiseLimits();
  const incusd = await startIncusd();
  project.provide('incusd', incusd);
  return async () => {
    await stopIncusd(incusd.directory);
    await restoreLimits();
  };
}
