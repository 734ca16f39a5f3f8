import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { FromChild, Load, ToChild } from './visitors/messages.js';
import { type Report, reportOf } from './visitors/report.js';

export type { Load, Stream } from './visitors/messages.js';
export type { Answered, Report, VisitorRequest } from './visitors/report.js';

const program = fileURLToPath(new URL('./visitors/process.ts', import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const runningWithinMs = 30_000;
const stopWithinMs = 30_000;
const mostPerSecond = 2_000;
const mostSeconds = 3_600;

export interface Visitors {
  /** Requests with an answer or an error up to now, and how many of them failed; at most 250 ms old. */
  progress(): { sent: number; failed: number };
  /** Ends the load, waits for what is under way and answers the report. A second call answers the same one. */
  stop(): Promise<Report>;
}

/**
 * Visits an edge of the tests from a process of its own, so that a busy event loop here does not slow the load.
 * Returns when each stream had its first answer or error. Ends by itself after `maxSeconds`, or with this process.
 */
export async function startVisitors(load: Load): Promise<Visitors> {
  assertBounded(load);
  const child = fork(program, { execArgv: ['--import', tsx], serialization: 'advanced', stdio: 'inherit' });
  let progress = { sent: 0, failed: 0 };
  child.on('message', (message: FromChild) => {
    if (message.kind === 'progress') progress = { sent: message.sent, failed: message.failed };
  });
  tell(child, { kind: 'start', load });
  await heard(child, 'running', runningWithinMs);

  let report: Promise<Report> | null = null;
  const stop = async (): Promise<Report> => {
    tell(child, { kind: 'stop' });
    const { log } = await heard(child, 'log', stopWithinMs);
    child.kill('SIGKILL');
    return reportOf(load, log);
  };
  return {
    progress: () => progress,
    stop: () => {
      report ??= stop();
      return report;
    },
  };
}

function assertBounded({ target, streams, maxSeconds }: Load): void {
  const perSecond = streams.reduce((sum, stream) => sum + stream.perSecond, 0);
  if (!(isIPv4(target.address) && isOwn(target.address))) {
    throw new Error(`${target.address} is neither on loopback nor in a container of the tests`);
  }
  if (streams.length === 0 || !(perSecond <= mostPerSecond)) {
    throw new Error(`a load has 1 stream or more, and at most ${mostPerSecond} requests a second`);
  }
  if (!(maxSeconds > 0 && maxSeconds <= mostSeconds)) throw new Error(`a load lasts at most ${mostSeconds} s`);
}

/** Names of the bridges that tests make for containers of their own. */
const ownBridge = /^bsc[0-9a-f]{8}$/;

function isOwn(address: string): boolean {
  if (address.startsWith('127.')) return true;
  const bridges = Object.entries(networkInterfaces()).filter(([name]) => ownBridge.test(name));
  return bridges.flatMap(([, addresses]) => addresses ?? []).some(({ cidr }) => cidr && isInSubnet(address, cidr));
}

/** Of a /24, as the tests' bridges are. */
const isInSubnet = (address: string, cidr: string): boolean =>
  cidr.endsWith('.1/24') && address.startsWith(cidr.slice(0, -'1/24'.length));

function tell(child: ChildProcess, message: ToChild): void {
  if (child.connected) child.send(message);
}

type Heard<K extends FromChild['kind']> = Extract<FromChild, { kind: K }>;

/** The next message of this kind; throws, and ends the process, where none comes in time or the process is gone. */
function heard<K extends FromChild['kind']>(child: ChildProcess, kind: K, withinMs: number): Promise<Heard<K>> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      act();
    };
    const fail = (why: string) =>
      settle(() => {
        child.kill('SIGKILL');
        reject(new Error(`the process of the load ${why} (waiting for ${kind})`));
      });
    const onMessage = (message: FromChild) => {
      if (isKind(message, kind)) settle(() => resolve(message));
    };
    const onExit = () => fail('ended');
    const timer = setTimeout(() => fail(`did not answer within ${withinMs} ms`), withinMs);
    child.on('message', onMessage);
    child.on('exit', onExit);
    if (child.exitCode !== null || child.signalCode !== null) onExit();
  });
}

const isKind = <K extends FromChild['kind']>(message: FromChild, kind: K): message is Heard<K> => message.kind === kind;
