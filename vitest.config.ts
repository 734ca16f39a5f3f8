import { defineConfig } from 'vitest/config';

/**
 * One project for each kind of test, run one kind after the other. Where tests start servers or kill processes, one
 * file at a time: two cores are what they may count on.
 */
const kinds = [
  { name: 'unit', parallelFiles: 2, timeoutMs: 10_000 },
  { name: 'workflow', parallelFiles: 2, timeoutMs: 60_000 },
  { name: 'integration', parallelFiles: 2, timeoutMs: 60_000 },
  { name: 'e2e', parallelFiles: 2, timeoutMs: 180_000 },
  { name: 'chaos', parallelFiles: 1, timeoutMs: 300_000 },
];

export default defineConfig({
  test: {
    reporters: ['./test/rig/reporter.ts'],
    projects: kinds.map(({ name, parallelFiles, timeoutMs }, position) => ({
      test: {
        name,
        include: [`test/${name}/**/*.test.ts`],
        ...(name === 'workflow' ? { globalSetup: 'test/workflow/rig/global-setup.ts' } : {}),
        pool: 'forks',
        maxWorkers: parallelFiles,
        sequence: { groupOrder: position },
        testTimeout: timeoutMs,
        hookTimeout: timeoutMs,
        teardownTimeout: 20_000,
      },
    })),
  },
});
