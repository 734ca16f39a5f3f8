import type { TestProject } from 'vitest/node';
import { type Incusd, startIncusd, stopIncusd } from './incusd.js';
import prepareRun from './limits.js';

declare module 'vitest' {
  interface ProvidedContext {
    incusd: Incusd;
  }
}

/** One daemon for all files, which are run one after the other: some of them kill it. Each has containers of its own. */
export default async function setup(project: Pick<TestProject, 'provide'>): Promise<() => Promise<void>> {
  const endRun = await prepareRun();
  const incusd = await startIncusd();
  project.provide('incusd', incusd);
  return async () => {
    await stopIncusd(incusd.directory);
    endRun();
  };
}
