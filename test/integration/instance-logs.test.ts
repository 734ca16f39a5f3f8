import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readLog, rotateLog } from '../../src/instances/log.js';
import { instanceFiles } from '../../src/instances/record.js';

let instance: { directory: string; name: string };
let log: string;

beforeEach(async () => {
  instance = { directory: await mkdtemp(join(tmpdir(), 'bascule-')), name: 'demo-api-green' };
  log = instanceFiles(instance).log;
  await mkdir(dirname(log), { recursive: true });
});

afterEach(async () => {
  await rm(instance.directory, { recursive: true });
});

const lastLines = async (tail: number) => (await readLog(instance, { tail })).lines;

test('the last lines are answered, fewer where there are fewer, none where there is no log', async () => {
  expect(await lastLines(5)).toEqual([]);
  await writeFile(log, 'one\ntwo\n\nfour, without an end');
  expect(await lastLines(2)).toEqual(['', 'four, without an end']);
  expect(await lastLines(9)).toEqual(['one', 'two', '', 'four, without an end']);
  expect(await lastLines(0)).toEqual([]);
});

test('following answers each line once, and whole', async () => {
  await writeFile(log, 'one\n');
  const first = await readLog(instance, { tail: 10 });
  await appendFile(log, 'zwölf\nhal');
  const second = await readLog(instance, { after: first.offset });
  await appendFile(log, 'f\n');
  const third = await readLog(instance, { after: second.offset });
  expect([first, second, third].map(({ lines }) => lines)).toEqual([['one'], ['zwölf'], ['half']]);
  expect(await readLog(instance, { after: third.offset })).toEqual({ lines: [], offset: third.offset });
});

test('following a log that grew a lot in between answers all of it, piece by piece', async () => {
  const written = Array.from({ length: 30_000 }, (_, index) => `${index} ${'x'.repeat(90)}`);
  await writeFile(log, `${written.join('\n')}\n`);
  const read: string[] = [];
  let offset = 0;
  for (let part = await readLog(instance, { after: 0 }); part.lines.length > 0; ) {
    read.push(...part.lines);
    offset = part.offset;
    part = await readLog(instance, { after: offset });
  }
  expect(read).toEqual(written);
});

test('following goes on with the new log after a rotation', async () => {
  await writeFile(log, 'one\ntwo\n');
  const { offset } = await readLog(instance, {});
  await rotateLog(instance, { maxBytes: 1, files: 2 });
  await appendFile(log, 'new\n');
  expect((await readLog(instance, { after: offset })).lines).toEqual(['new']);
});

test('lines since a time are those written behind the last note before it', async () => {
  await writeFile(log, 'old\n');
  await rotateLog(instance, { maxBytes: 1_000, files: 2 });
  const { logTimes } = instanceFiles(instance);
  const noted = await readFile(logTimes, 'utf8');
  await writeFile(logTimes, noted.replace(/^\d+/, String(Date.now() - 60_000)));
  await appendFile(log, 'new\n');
  expect((await readLog(instance, { sinceMs: 30_000 })).lines).toEqual(['new']);
  expect((await readLog(instance, { sinceMs: 90_000 })).lines).toEqual(['old', 'new']);
});

test('lines since a time are found too after the clock was set back an hour', async () => {
  await writeFile(log, 'old\n');
  const { logTimes } = instanceFiles(instance);
  await writeFile(logTimes, `${Date.now() + 3_600_000} 2\n`);
  await rotateLog(instance, { maxBytes: 1_000, files: 2 });
  await appendFile(log, 'new\n');
  expect((await readLog(instance, { sinceMs: 0 })).lines).toEqual(['new']);
});

test('a log that is full is kept under a number, and only so many are kept', async () => {
  for (const content of ['first', 'second', 'third', 'fourth']) {
    await appendFile(log, content);
    await rotateLog(instance, { maxBytes: 5, files: 3 });
  }
  expect((await readdir(dirname(log))).sort()).toEqual(['current.log', 'current.log.1', 'current.log.2']);
  expect(await readFile(log, 'utf8')).toBe('');
  expect(await readFile(`${log}.1`, 'utf8')).toBe('fourth');
  expect(await readFile(`${log}.2`, 'utf8')).toBe('third');
});

test('a log that is not full stays as it is', async () => {
  await writeFile(log, 'one\n');
  await rotateLog(instance, { maxBytes: 5, files: 3 });
  expect(await lastLines(9)).toEqual(['one']);
  expect((await readdir(dirname(log))).sort()).toEqual(['current.log', 'times']);
});
