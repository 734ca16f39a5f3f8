import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { SerializedError } from 'vitest';
import type { Reporter, TestCase, TestModule, TestRunEndReason } from 'vitest/node';

const slowAfterMs: Readonly<Record<string, number>> = { unit: 500 };
const slowAfterMsElsewhere = 10_000;
const slowestShown = 10;

/**
 * One line for each file as it ends, every failure in full, the slow tests, and as the last line
 * `N passed, N failed[, N skipped]`. A run without a test fails. With TEST_COUNTS_FILE the three numbers are written
 * there and the last line is left to the caller, which has counts of its own to add.
 */
export default class SummaryReporter implements Reporter {
  private readonly startedAt = Date.now();

  onTestModuleEnd(module: TestModule): void {
    const tests = [...module.children.allTests()];
    const failed = tests.filter((test) => test.result().state === 'failed').length;
    const bad = failed > 0 || errorsOutsideTests(module).length > 0;
    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    print(`${bad ? 'FAIL' : 'ok  '} ${nameOf(module)} (${tests.length} tests, ${seconds} s)`);
  }

  onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const failedTests = tests.filter((test) => test.result().state === 'failed');
    const suiteErrors = modules.flatMap((module) => errorsOutsideTests(module));
    const skipped = tests.filter((test) => test.result().state === 'skipped').length;
    const passed = tests.filter((test) => test.result().state === 'passed').length;

    for (const test of failedTests) printFailure(titleOf(test), test.result().errors ?? []);
    for (const { title, error } of suiteErrors) printFailure(title, [error]);
    for (const error of unhandledErrors) printFailure(`outside of any test${whileRunning(error)}`, [error]);
    printSlow(tests);

    // A test that was neither passed, failed nor skipped did not come to its end: the run was broken off.
    const unfinished = tests.length - passed - skipped - failedTests.length;
    let failed = failedTests.length + suiteErrors.length + unhandledErrors.length + unfinished;
    if (unfinished > 0) print(`\nFAIL ${unfinished} tests were not finished (${reason})`);
    if (tests.length === skipped && failed === 0) {
      print('\nFAIL no test was run');
      failed = 1;
    }
    if (failed > 0) process.exitCode = 1;
    const names = [...failedTests.map(titleOf), ...suiteErrors.map(({ title }) => title)];
    this.printCounts(passed, failed, skipped, names);
  }

  private printCounts(passed: number, failed: number, skipped: number, failedNames: readonly string[]): void {
    print('');
    for (const name of failedNames) print(`Failed: ${name}`);
    print(`Tests took ${((Date.now() - this.startedAt) / 1000).toFixed(1)} s`);
    const countsFile = process.env.TEST_COUNTS_FILE;
    if (countsFile) writeFileSync(countsFile, `${passed} ${failed} ${skipped}\n`);
    else print(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  }
}

/** A file that can't be loaded or a hook that throws fails no test by name, but must not pass either. */
function errorsOutsideTests(module: TestModule): { title: string; error: SerializedError }[] {
  const suites = [...module.children.allSuites()];
  return [
    ...module.errors().map((error) => ({ title: nameOf(module), error })),
    ...suites.flatMap((suite) =>
      suite.errors().map((error) => ({ title: `${nameOf(module)} > ${suite.fullName}`, error })),
    ),
  ];
}

/** Vitest notes with such an error which file ran. */
function whileRunning(error: SerializedError): string {
  const { VITEST_TEST_PATH: path } = error;
  return typeof path === 'string' ? `, while ${relative(process.cwd(), path)} ran` : '';
}

function printFailure(title: string, errors: readonly SerializedError[]): void {
  print(`\nFAIL ${title}`);
  for (const error of errors) {
    const stack = (error.stack ?? '').replace(/^ +at .*node_modules\/@?vitest\/.*\n?/gm, '');
    print(indented(stack.includes(error.message) ? stack : `${error.message}\n${stack}`));
    if (typeof error.diff === 'string') print(indented(stripVTControlCharacters(error.diff)));
    if (error.cause instanceof Object && 'message' in error.cause) print(indented(`cause: ${error.cause.message}`));
  }
}

function printSlow(tests: readonly TestCase[]): void {
  const slow = tests
    .map((test) => ({ test, ms: test.diagnostic()?.duration ?? 0 }))
    .filter(({ test, ms }) => ms > (slowAfterMs[test.project.name] ?? slowAfterMsElsewhere))
    .sort((a, b) => b.ms - a.ms)
    .slice(0, slowestShown);
  if (slow.length > 0) print('\nSlow tests:');
  for (const { test, ms } of slow) print(`  ${(ms / 1000).toFixed(1)} s  ${titleOf(test)}`);
}

const nameOf = (module: TestModule): string => relative(process.cwd(), module.moduleId);
const titleOf = (test: TestCase): string => `${nameOf(test.module)} > ${test.fullName}`;
const indented = (text: string): string => text.trimEnd().replace(/^/gm, '    ');
const print = (line: string): boolean => process.stdout.write(`${line}\n`);
