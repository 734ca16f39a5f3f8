import { appendFile, readFile, rm } from 'node:fs/promises';
import { logSize, type RotationLimits, readLogBytes, rotateLogFile } from '../hosts/log-file.js';
import { hasSystemCode } from '../system-error.js';
import { type Instance, instanceFiles, readProcess } from './record.js';

/** How much of a log is read at most for one answer. */
const readMaxBytes = 1_000_000;

/** How often the log's length is noted with the time: how exact `sinceMs` is. */
const noteEveryMs = 10_000;

export interface LogPart {
  readonly lines: readonly string[];
  /** Byte offset of what was read last: `after` of the next call. */
  readonly offset: number;
}

/**
 * Lines of an instance's log: the last `tail`, or those written in the last `sinceMs` (to ten seconds, rather more than
 * fewer), or those behind the offset `from`, a last line without an end among them; or the whole lines behind the offset `after` of an earlier answer, at
 * most about a megabyte. After a rotation `after` begins anew.
 */
export async function readLog(
  instance: Pick<Instance, 'directory' | 'name'>,
  { tail, sinceMs, from = 0, after }: { tail?: number; sinceMs?: number; from?: number; after?: number },
): Promise<LogPart> {
  const { log } = instanceFiles(instance);
  const size = await logSize(log);
  if (after !== undefined) return await followLog(log, size, after);
  const wanted = sinceMs === undefined ? from : await offsetAt(instance, Date.now() - sinceMs, size);
  // After a rotation the log is shorter, and all of it is later.
  const first = wanted <= size ? wanted : 0;
  const begin = Math.max(first, size - readMaxBytes);
  const lines = linesOf(await readLogBytes(log, begin, size));
  // Where reading began inside a line, its rest is no line.
  if (begin > first) lines.shift();
  return { lines: tail === undefined ? lines : lines.slice(Math.max(lines.length - tail, 0)), offset: size };
}

/** The last lines that the release on record wrote, fewer where there are fewer. */
export async function lastLogLines(instance: Instance, count: number): Promise<readonly string[]> {
  const { logBegin } = await readProcess(instance);
  return (await readLog(instance, { tail: count, from: logBegin })).lines;
}

/** Notes the time for `sinceMs`, and rotates the log as `rotateLogFile` does. */
export async function rotateLog(instance: Pick<Instance, 'directory' | 'name'>, limits: RotationLimits): Promise<void> {
  const { log, logTimes } = instanceFiles(instance);
  if (await rotateLogFile(log, limits)) await rm(logTimes, { force: true });
  else await noteTime(logTimes, await logSize(log));
}

async function followLog(log: string, size: number, after: number): Promise<LogPart> {
  const begin = after <= size ? after : 0;
  const bytes = await readLogBytes(log, begin, Math.min(size, begin + readMaxBytes));
  const end = bytes.lastIndexOf('\n') + 1;
  // A line as long as all that is read at once is answered in pieces.
  const whole = end === 0 && bytes.length === readMaxBytes ? bytes : bytes.subarray(0, end);
  return { lines: linesOf(whole), offset: begin + whole.length };
}

async function noteTime(file: string, size: number): Promise<void> {
  const last = (await timesOf(file)).at(-1);
  if (size === (last?.size ?? 0) || (last && Math.abs(Date.now() - last.at) < noteEveryMs)) return;
  await appendFile(file, `${Date.now()} ${size}\n`, { mode: 0o600 });
}

/** How long the log was at a time, or a little before. */
async function offsetAt(instance: Pick<Instance, 'directory' | 'name'>, at: number, size: number): Promise<number> {
  const times = await timesOf(instanceFiles(instance).logTimes);
  const before = times.findLast((time) => time.at <= at);
  return before && before.size <= size ? before.size : 0;
}

async function timesOf(file: string): Promise<{ at: number; size: number }[]> {
  const text = await readFile(file, 'utf8').catch(ifMissing(''));
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').map(Number))
    .map(([at = 0, size = 0]) => ({ at, size }));
}

function linesOf(bytes: Buffer): string[] {
  const lines = bytes.toString('utf8').split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

const ifMissing =
  <T>(value: T) =>
  (error: unknown): T => {
    if (hasSystemCode(error, 'ENOENT')) return value;
    throw error;
  };
