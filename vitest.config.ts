import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { isWhole, scaled } from './test/rig/tier.js';

/**
 * One project for each kind of test. Kinds of one group run together. Two cores are what the tests may count on: the
 * first two kinds use one for each file, the others wait for servers half of their time.
 */
const kinds = [
  { name: 'unit', timeoutMs: 10_000, group: 0, filesAtOnce: 2 },
  {
    name: 'workflow',
    timeoutMs: 60_000,
    group: 1,
    filesAtOnce: 2,
    globalSetup: 'test/workflow/rig/global-setup.ts',
  },
  { name: 'chaos', timeoutMs: 300_000, group: 2, filesAtOnce: 4 },
  { name: 'e2e', timeoutMs: 180_000, group: 2, filesAtOnce: 4 },
  { name: 'integration', timeoutMs: 60_000, group: 2, filesAtOnce: 4 },
  { name: 'incus', timeoutMs: 180_000, group: 3, filesAtOnce: 1, globalSetup: 'test/incus/rig/global-setup.ts' },
  // With a daemon of its own: what CI has time for.
  { name: 'story', timeoutMs: 180_000, group: 4, filesAtOnce: 1, globalSetup: 'test/incus/rig/limits.ts' },
];

const story = 'test/incus/story.test.ts';

/** Tests of one file that run at once, where it asks for that: they wait most of the time. */
const testsAtOnce = 3;

/** The longest first, so that no core is idle at the end: kinds in the order above, then the larger file. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const kindOf = ({ project }: TestSpecification) => kinds.findIndex(({ name }) => name === project.name);
    return (await super.sort(files)).toSorted((a, b) => kindOf(a) - kindOf(b));
  }
}

export default defineConfig({
  test: {
    reporters: ['./test/run/reporter.ts'],
    sequence: { sequencer: LongestFirst },
    projects: kinds.map(({ name, timeoutMs, group, filesAtOnce, globalSetup }) => ({
      test: {
        name,
        include: name === 'story' ? [story] : [`test/${name}/**/*.test.ts`],
        exclude: [...(isWhole ? [] : ['**/*.all.test.ts']), ...(name === 'incus' ? [story] : [])],
        ...(globalSetup ? { globalSetup } : {}),
        setupFiles: ['test/run/waits.ts'],
        pool: 'forks',
        // Files of a kind that run one after the other read the sources once.
        isolate: false,
        maxWorkers: filesAtOnce,
        maxConcurrency: testsAtOnce,
        sequence: { groupOrder: group },
        testTimeout: scaled(timeoutMs),
        hookTimeout: scaled(timeoutMs),
        teardownTimeout: 20_000,
        // A busy machine answers late; what is waited for is no question of time.
        expect: { poll: { timeout: scaled(30_000) } },
      },
    })),
  },
});
