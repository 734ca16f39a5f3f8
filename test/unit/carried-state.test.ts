import { expect, test } from 'vitest';
import { type EdgeChangeResult, type EndedChanges, handedOver, type StepReport } from '../../src/domain/edge-change.js';
import { EnvironmentBook } from '../../src/domain/environment-book.js';
import { emptyEnvironment, type QueuedOperation } from '../../src/domain/environment-queue.js';
import type { OperationResult } from '../../src/domain/operation.js';

/** What Temporal takes as an argument; a run that hands more to the next can never continue. */
const temporalTakesBytes = 2_000_000;
const bytesOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value));

const step = (name: string): StepReport => ({
  name,
  startedAt: '2026-01-01T00:00:00.000Z',
  durationMs: 12_345,
  outcome: 'done',
});

/** Of a deploy of so many components. */
function resultOf(book: EnvironmentBook, operation: QueuedOperation, components: number): OperationResult {
  const names = Array.from({ length: components }, (_, index) => `component-${index}`);
  return {
    ...book.neverBegan(operation, ''),
    outcome: 'succeeded',
    code: null,
    message: 'prod serves 0123456 (green)',
    components: names.map((name) => ({
      name,
      url: `https://artifacts.example.org/${name}/${'a'.repeat(40)}/${name}-${'a'.repeat(40)}.tar.gz`,
      sha256: 'f'.repeat(64),
      instance: `demo-${name}-green`,
    })),
    steps: names.flatMap((name) => ['fetch', 'recreate', 'start'].map((verb) => step(`${verb} ${name}`))),
  };
}

test('an environment with 500 deploys of 20 components a day hands on what Temporal takes, the newest results whole', () => {
  let now = Date.parse('2026-01-01T00:00:00Z');
  const book = new EnvironmentBook('prod', emptyEnvironment, () => now);
  const deploy = (): { readonly operation: QueuedOperation; readonly requestId: string } => {
    const number = book.nextNumber();
    now += 20_000;
    const requestId = `${'0'.repeat(30)}${number}`;
    const request = { sha: 'a'.repeat(40), requestId, why: 'é'.repeat(200) };
    const operation: QueuedOperation = { id: `demo/prod/deploy/${number}`, kind: 'deploy', request };
    book.rememberRequest(request, operation.id);
    book.enqueue(operation);
    return { operation, requestId };
  };
  const runOne = () => {
    const ran = deploy();
    book.dequeue();
    book.remember(ran.operation, resultOf(book, ran.operation, 20));
    const replaced = deploy();
    const replacing = deploy();
    book.dequeue();
    return { ran, replaced, replacing };
  };
  for (let times = 0; times < 250; times += 1) runOne();
  const { ran, replaced, replacing } = runOne();
  expect(bytesOf(book.state)).toBeGreaterThan(temporalTakesBytes);
  const handed = new EnvironmentBook('prod', book.handedOver(), () => now);
  expect(bytesOf(handed.state)).toBeLessThan(temporalTakesBytes / 2);
  expect(handed.state.results[ran.operation.id]?.result.components).toHaveLength(20);
  expect(handed.state.results[replaced.operation.id]?.result).toMatchObject({ code: 'superseded' });
  expect(handed.earlierOperation(replacing)).toBe(replacing.operation.id);
});

test('an edge with 1500 changes a day hands on what Temporal takes, the newest with their diffs', () => {
  const ended: Record<string, EndedChanges[string]> = {};
  for (let number = 1; number <= 1_500; number += 1) {
    const result: EdgeChangeResult = {
      id: `demo/prod/deploy/${number}@0123-4567/switch`,
      outcome: 'succeeded',
      code: null,
      message: 'in force',
      remedy: null,
      changed: true,
      generation: number,
      diff: '-old\n+new\n'.repeat(6_000),
      reloadedAt: '2026-01-01T00:00:00.000Z',
      steps: ['read', 'render', 'stage', 'install', 'reload', 'verify', 'record'].map(step),
    };
    ended[result.id] = { result, at: number };
  }
  const handed = handedOver(ended);
  expect(bytesOf(handed)).toBeLessThan(temporalTakesBytes / 2);
  const kept = Object.values(ended).slice(-300);
  const [newest, ...older] = kept.toReversed();
  expect(handed[newest?.result.id ?? '']).toEqual(newest);
  for (const { result, at } of older)
    expect({ ...handed[result.id], at }).toMatchObject({
      result: { id: result.id, generation: result.generation },
      at,
    });
});

test('request ids that are numbers, as a build server gives them, are forgotten by age all the same', () => {
  let now = 0;
  const book = new EnvironmentBook('prod', emptyEnvironment, () => now);
  for (let build = 5_000; build > 0; build -= 1) {
    now += 1;
    book.rememberRequest({ requestId: `${build}` }, `demo/prod/deploy/${now}`);
  }
  const handed = new EnvironmentBook('prod', book.handedOver(), () => now);
  expect(handed.earlierOperation({ requestId: '1' })).toBe('demo/prod/deploy/5000');
  expect(handed.earlierOperation({ requestId: '5000' })).toBeUndefined();
});
