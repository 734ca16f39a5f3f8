import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { followOperation } from '../../src/client/follow.js';
import { request } from '../../src/client/operations.js';
import { readPollers } from '../../src/client/workers.js';
import type { Status } from '../../src/domain/inspect.js';
import { edgeChangeWorkflowId } from '../../src/domain/names.js';
import type { DeployRequest, OperationResult } from '../../src/domain/operation.js';
import { isBasculeError } from '../../src/errors.js';
import { visitOnce } from '../rig/ask.js';
import {
  connectTemporal,
  mustSucceed,
  reportCells,
  say,
  type Temporal,
  until,
  withEnvironments,
} from '../rig/chaos.js';
import { type Project, startProject } from '../rig/project.js';

// One worker, one Temporal, one HAProxy, and as many environments as it takes.

const names = Array.from({ length: 20 }, (_, index) => `e${index + 1}`);
const requestsAtOnce = 200;
/** Of the worker's memory between the first hundred operations and the five hundredth. */
const mayGrowMiB = 100;

let project: Project;
let temporal: Temporal;
beforeAll(async () => {
  project = await startProject({ configure: (yaml) => withEnvironments(yaml, names) });
  // The client asks there whether it is Temporal or the worker that does not answer.
  vi.stubEnv('TEMPORAL_ADDRESS', project.temporal.address);
  await project.startWorker();
  temporal = await connectTemporal(project);
  await mustSucceed(project, 'apply');
});
afterAll(async () => {
  await temporal?.close();
  await project?.stop();
  vi.unstubAllEnvs();
});

const report = (part: string, operations: number, row: readonly string[]) =>
  reportCells(`load.${part}`, {
    title: 'Load',
    about: 'One worker, one Temporal and one HAProxy; each environment has a component of its own.',
    columns: ['what', 'how much', 'found'],
    rows: [row],
    operations,
    faults: 0,
    violations: 0,
  });

const nameOf = (environment: string) => ({ project: 'demo', environment });

/** As `bascule deploy` does, without its start; where the machine is so busy that no worker answers in time, once more. */
async function deploy(environment: string, asked: DeployRequest): Promise<OperationResult> {
  const ask = () => request(temporal.client, nameOf(environment), 'deploy', asked);
  const { operation } = await ask().catch((error) => {
    if (isBasculeError(error) && error.code === 'no-worker') return ask();
    throw error;
  });
  return await ended(environment, operation);
}

async function ended(environment: string, operation: string): Promise<OperationResult> {
  const options = { onSight: () => undefined, signal: AbortSignal.timeout(240_000) };
  return await followOperation(temporal.client, nameOf(environment), operation, options);
}

/** When each change of the edge began and ended, in their order. */
async function edgeChanges(): Promise<readonly { readonly begin: number; readonly end: number }[]> {
  const changes: { begin: number; end: number }[] = [];
  for (let number = 1; ; number += 1) {
    const change = temporal.client.workflow.getHandle(edgeChangeWorkflowId('demo', 'local', number));
    const found = await change.describe().catch(() => null);
    if (!found) return changes;
    expect(found.status.name).toBe('COMPLETED');
    changes.push({ begin: found.startTime.getTime(), end: found.closeTime?.getTime() ?? Number.NaN });
  }
}

const historyLength = async (workflowId: string): Promise<number> =>
  (await temporal.client.workflow.getHandle(workflowId).describe()).historyLength;

test(`${names.length} environments that deploy at once all succeed, with one edge change at a time`, async () => {
  const sha = 'aaaaaaa1';
  await project.releaseAll(sha);
  const results = await Promise.all(names.map((environment) => deploy(environment, { sha })));
  for (const result of results) {
    expect(result, result.message).toMatchObject({ outcome: 'succeeded', to: { color: 'green', sha } });
  }

  const changes = await edgeChanges();
  // The first apply, and for each environment a stand-down and a switch.
  expect(changes).toHaveLength(1 + 2 * names.length);
  for (const [index, { begin }] of changes.slice(1).entries())
    expect(begin).toBeGreaterThanOrEqual(changes[index]?.end ?? 0);

  const { document: status } = await project.json<Status>('status');
  expect(status.edge).toMatchObject({ drift: [], needsOperator: null, running: true });
  expect(status.environments.map(({ name }) => name)).toEqual(names);
  for (const environment of status.environments) {
    expect(environment).toMatchObject({ active: 'green', sha, operation: null, queue: [], blocked: null });
    expect(environment.history.map((line) => `${line.color} ${line.sha}`)).toEqual([`green ${sha}`]);
    expect(environment.colors?.green.components).toMatchObject([{ state: 'running', health: 'UP L7OK' }]);
  }
  for (const name of names) {
    const answer = await visitOnce({ ...project.edge, path: '/', host: `${name}.localhost` });
    expect(answer).toMatchObject({ status: 200, environment: name, color: 'green', sha });
  }
  const longest = Math.max(...(await Promise.all(names.map((name) => historyLength(`demo/environment/${name}`)))));
  expect(longest).toBeLessThan(100);
  report('environments', results.length + 1, [
    'environments that deploy at once',
    `${names.length}`,
    `all succeeded, ${changes.length} changes of the edge, never two at a time; longest history ${longest} events`,
  ]);
});

test(`of ${requestsAtOnce} requests at once on one environment the newest wins, and each other one says what took its place`, async () => {
  const [environment = ''] = names;
  const shas = Array.from({ length: requestsAtOnce }, (_, index) => `bbbb${String(index).padStart(4, '0')}`);
  await Promise.all(shas.map((sha) => project.releaseAll(sha)));
  const ask = (sha: string) =>
    request(temporal.client, nameOf(environment), 'deploy', { sha, soakMs: 0, requestId: `build ${sha}` });
  const accepted = await Promise.all(shas.map(ask));
  const results = await Promise.all(accepted.map(({ operation }) => ended(environment, operation)));

  expect(new Set(results.map(({ operation }) => operation)).size).toBe(requestsAtOnce);
  const inOrder = results.toSorted((a, b) => numberOf(a.operation) - numberOf(b.operation));
  const winner = inOrder.at(-1);
  const ran = inOrder.filter(({ code }) => code !== 'superseded');
  expect(ran.every(({ outcome }) => outcome === 'succeeded')).toBe(true);
  expect(ran.at(-1)).toBe(winner);
  for (const result of inOrder.filter(({ code }) => code === 'superseded')) {
    const by = /and (\S+) took its place/.exec(result.message)?.[1] ?? '';
    expect(numberOf(by)).toBeGreaterThan(numberOf(result.operation));
  }
  expect((await ask(shas[0] ?? '')).operation).toBe(accepted[0]?.operation);
  const answer = await visitOnce({ ...project.edge, path: '/', host: `${environment}.localhost` });
  expect(answer.sha).toBe(winner?.sha);
  const length = await historyLength(`demo/environment/${environment}`);
  expect(length).toBeLessThan(100 + 8 * requestsAtOnce);
  report('requests', requestsAtOnce, [
    'requests at once on one environment',
    `${requestsAtOnce}`,
    `${ran.length} ran and succeeded, the newest last; ${requestsAtOnce - ran.length} ended as superseded, named; its history ${length} events`,
  ]);
});

const numberOf = (operation: string): number => Number(operation.split('/').at(-1));

test('a worker needs no more memory after 500 operations than after 100', { timeout: 1_200_000 }, async () => {
  const [worker] = await readPollers(temporal.client, 'demo');
  const pid = Number(/ (\d+)@/.exec(worker?.identity ?? '')?.[1]);
  let operations = 0;
  let round = 0;
  const runUntil = async (wanted: number) => {
    while (operations < wanted) {
      round += 1;
      const sha = `c${String(round).padStart(7, '0')}`;
      await project.releaseAll(sha);
      operations += (await Promise.all(names.slice(0, 4).map((name) => cycle(name, sha)))).flat().length;
    }
    return await memoryOf(pid);
  };
  const early = await runUntil(100);
  const late = await runUntil(500);
  say(`memory of the worker: ${early} MiB after 100 operations, ${late} MiB after ${operations}`);
  expect(late - early).toBeLessThan(mayGrowMiB);
  reportCells('load.memory', {
    title: 'Load',
    about: 'One worker, one Temporal and one HAProxy; each environment has a component of its own.',
    columns: ['what', 'how much', 'found'],
    rows: [
      [
        'memory of the worker (RSS)',
        `${operations} operations`,
        `${early} MiB after 100, ${late} MiB after ${operations}`,
      ],
    ],
    operations,
    faults: 0,
    violations: 0,
  });
});

/** A deploy, what is done already, a dry run, a rollback and a cleanup: what an environment does in a week. */
async function cycle(environment: string, sha: string): Promise<readonly OperationResult[]> {
  const results = [
    await deploy(environment, { sha, soakMs: 0, drainMs: 0 }),
    await deploy(environment, { sha, soakMs: 0, drainMs: 0 }),
  ];
  for (const [kind, args] of [
    ['switch', { color: results[0]?.from.color ?? 'blue', dryRun: true }],
    ['rollback', {}],
    ['cleanup', {}],
  ] as const) {
    const { operation } = await request(temporal.client, nameOf(environment), kind, args);
    results.push(await ended(environment, operation));
  }
  for (const { outcome, message } of results) expect(outcome, message).toBe('succeeded');
  return results;
}

/** Resident memory in MiB, the least of some looks: what is let go is not given back at once. */
async function memoryOf(pid: number): Promise<number> {
  const looks: number[] = [];
  await until('the memory was looked at', async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    looks.push(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
    await sleep(200);
    return looks.length >= 25;
  });
  return Math.round(Math.min(...looks));
}
