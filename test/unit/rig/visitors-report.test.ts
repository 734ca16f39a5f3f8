import { expect, test } from 'vitest';
import type { Answer, Load } from '../../rig/visitors/messages.js';
import { reportOf } from '../../rig/visitors/report.js';

const load: Load = {
  target: { address: '127.0.0.1', port: 1 },
  streams: [{ host: 'prod.localhost', path: '/', kind: 'new', perSecond: 1, environment: 'prod' }],
  maxSeconds: 1,
};
const blue: Answer = {
  status: 200,
  error: null,
  environment: 'prod',
  component: 'web',
  color: 'blue',
  sha: 'aaaaaaa',
  setCookie: null,
};
const green: Answer = { ...blue, color: 'green', sha: 'bbbbbbb' };
const reset: Answer = { ...blue, status: null, error: 'ECONNRESET' };
const unavailable: Answer = { ...blue, status: 503 };
const staging: Answer = { ...blue, environment: 'staging' };
const answers = [blue, green, reset, unavailable, staging];

const report = (...sent: Answer[]) =>
  reportOf(load, {
    rows: sent.map((answer, index) => [index, 1, 0, answers.indexOf(answer), 0, 0]),
    answers,
    held: 0,
    endedByLimit: false,
  });

test('counts a reset connection and a 503 as failed', () => {
  const { sent, failed, failures } = report(blue, reset, unavailable);
  expect({ sent, failed }).toEqual({ sent: 3, failed: 2 });
  expect(failures.map(({ error, status }) => error ?? status)).toEqual(['ECONNRESET', 503]);
});

test('lists an answer of an environment that the host does not belong to', () => {
  const { wrongEnvironment, wrongEnvironmentAnswers } = report(blue, staging);
  expect(wrongEnvironment).toBe(1);
  expect(wrongEnvironmentAnswers[0]?.environment).toBe('staging');
});

test('sums up each release, and shows in the timeline that one came back', () => {
  const { answered, timeline } = report(blue, blue, green, blue);
  expect(answered.map(({ color, count, firstAt, lastAt }) => [color, count, firstAt, lastAt])).toEqual([
    ['blue', 3, 0, 3],
    ['green', 1, 2, 2],
  ]);
  expect(timeline.map(({ color }) => color)).toEqual(['blue', 'green', 'blue']);
});

test('lists no more than 20 failures and counts all', () => {
  const { failed, failures } = report(...Array.from({ length: 30 }, () => reset));
  expect([failed, failures.length]).toEqual([30, 20]);
});
