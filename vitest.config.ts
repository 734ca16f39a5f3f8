import { defineConfig } from 'vitest/config';

/** One project for each kind of test, run one kind after the other. */
const kinds = [
  { name: 'unit', timeoutMs: 10_000 },
  { name: 'workflow', timeoutMs: 60_000 },
  { name: 'integration', timeoutMs: 60_000 },
  { name: 'e2e', timeoutMs: 180_000 },
  { name: 'chaos', timeoutMs: 300_000 },
];

/** Files that run at once: two cores are what the tests may count on. */
const parallelFiles = 2;

export default defineConfig({
  test: {
    reporters: ['./test/rig/reporter.ts'],
    projects: kinds.map(({ name, timeoutMs }, position) => ({
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
