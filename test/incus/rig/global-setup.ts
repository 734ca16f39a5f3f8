import { readFile, writeFile } from 'node:fs/promises';
import type { TestProject } from 'vitest/node';
import { type Incusd, startIncusd, stopIncusd } from './incusd.js';

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

/**
 * The services of all instances take their keys and what they watch files by from those of one user of this machine. As
 * Linux comes that is enough for about nine instances; the start of the next one hangs. Answers how to have it as it was.
 */
async function raiseLimits(): Promise<() => Promise<void>> {
  const limits = {
    'kernel/keys/maxkeys': 2_000,
    'kernel/keys/maxbytes': 2_000_000,
    'fs/inotify/max_user_instances': 1_024,
  };
  const before = await Promise.all(
    Object.entries(limits).map(async ([name, limit]) => {
      const file = `/proc/sys/${name}`;
      const was = await readFile(file, 'utf8');
      if (Number(was) < limit) await writeFile(file, String(limit));
      return { file, was };
    }),
  );
  return async () => {
    for (const { file, was } of before) await writeFile(file, was);
  };
}
