import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { SerializedError } from 'vitest';
import type { Reporter, TestCase, TestModule, TestRunEndReason } from 'vitest/node';
import { closingLine, summarize, type TestEvent } from './events.js';

/**
 * One line for each file as it ends, and every failure in full. With TEST_EVENTS_FILE all that happens is noted there as
 * well, and the end is left to the caller; else the last line is `N passed, N failed[, N skipped]`.
 */
export default class SummaryReporter implements Reporter {
  private readonly events: TestEvent[] = [];
  private readonly eventsFile = process.env.TEST_EVENTS_FILE;

  onTestCaseReady(test: TestCase): void {
    this.note({ event: 'began', test: titleOf(test) });
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result();
    if (state === 'pending') return;
    this.note({
      event: 'ended',
      test: titleOf(test),
      file: nameOf(test.module),
      kind: test.project.name,
      state,
      ms: test.diagnostic()?.duration ?? 0,
      error: errors?.[0]?.message.split('\n')[0] ?? null,
    });
    if (state === 'failed') printFailure(titleOf(test), errors);
  }

  onTestModuleEnd(module: TestModule): void {
    const tests = [...module.children.allTests()];
    const errors = errorsOutsideTests(module);
    for (const { title, error } of errors) this.noteBroken(title, error, module);
    const isBad = errors.length > 0 || tests.some((test) => test.result().state === 'failed');
    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    print(`${isBad ? 'FAIL' : 'ok  '} ${nameOf(module)} (${tests.length} tests, ${seconds} s)`);
  }

  onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    for (const error of unhandledErrors) this.noteBroken(`outside of any test${whileRunning(error)}`, error, null);
    const { passed, failed, skipped, running } = summarize(this.events);
    const isEmpty = passed.length + failed.length === 0;
    if (isEmpty) print(`\nFAIL no test was run (${reason}, ${modules.length} files)`);
    const failures = failed.length + running.length + (isEmpty ? 1 : 0);
    if (failures > 0) process.exitCode = 1;
    if (this.eventsFile) return;
    print('');
    for (const { test } of failed) print(`Failed: ${test}`);
    for (const test of running) print(`Not finished: ${test}`);
    print(closingLine(passed.length, failures, skipped));
  }

  private noteBroken(test: string, error: SerializedError, module: TestModule | null): void {
    const place = { file: module && nameOf(module), kind: module?.project.name ?? '' };
    this.note({ event: 'broke', test, ...place, error: error.message.split('\n')[0] ?? '' });
    printFailure(test, [error]);
  }

  private note(event: TestEvent): void {
    this.events.push(event);
    if (this.eventsFile) appendFileSync(this.eventsFile, `${JSON.stringify(event)}\n`);
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

function printFailure(title: string, errors: readonly SerializedError[] = []): void {
  print(`\nFAIL ${title}`);
  for (const error of errors) {
    const stack = (error.stack ?? '').replace(/^ +at .*node_modules\/@?vitest\/.*\n?/gm, '');
    print(indented(stack.includes(error.message) ? stack : `${error.message}\n${stack}`));
    if (typeof error.diff === 'string') print(indented(stripVTControlCharacters(error.diff)));
    if (error.cause instanceof Object && 'message' in error.cause) print(indented(`cause: ${error.cause.message}`));
  }
}

const nameOf = (module: TestModule): string => relative(process.cwd(), module.moduleId);
const titleOf = (test: TestCase): string => `${nameOf(test.module)} > ${test.fullName}`;
const indented = (text: string): string => text.trimEnd().replace(/^/gm, '    ');
const print = (line: string): boolean => process.stdout.write(`${line}\n`);
