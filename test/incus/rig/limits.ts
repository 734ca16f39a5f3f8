import { readFile, writeFile } from 'node:fs/promises';

/**
 * The services of all instances take their keys and what they watch files by from those of one user of this machine. As
 * Linux comes that is enough for about nine instances; the start of the next one hangs. Answers how to have it as it was.
 */
export default async function raiseLimits(): Promise<() => Promise<void>> {
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
