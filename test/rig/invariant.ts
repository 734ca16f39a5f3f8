import { isIPv4 } from 'node:net';
import type { Color } from '../../src/domain/edge-state.js';
import type { Status } from '../../src/domain/inspect.js';
import { readApplied, readInstalled } from '../../src/haproxy/installed.js';
import { readInstance } from '../../src/instances/drivers.js';
import { instancesOfColor } from '../../src/instances/places.js';
import { type Instance, type InstanceRecord, instanceFiles } from '../../src/instances/record.js';
import { releasesFolder } from '../../src/instances/unit.js';
import { examineInvariant } from '../../src/invariant.js';
import { readVersion } from '../../src/version.js';
import { type OneAnswer, visitOnce } from './one-visit.js';
import { openProject } from './open-project.js';
import type { Project } from './project.js';

/** Which color of an environment visitors are given, with which release. */
export interface Serving {
  readonly color: Color;
  readonly sha: string | null;
}

/** Where examples/local.yaml says that a visitor of an environment goes. */
const hosts = { staging: 'staging.localhost', prod: 'localhost' } as const;
const paths = { api: '/api/v1/things', web: '/' } as const;

type EnvironmentName = keyof typeof hosts;

const lookMs = 10_000;

/**
 * Whatever was killed: what `bascule doctor` looks at is as it is when nothing is under way, `status` says so too, real
 * visitors are answered by the active color, and the kernel knows each active instance as its record does. Needs a worker
 * that answers, and no operation under way. Names everything that is not so.
 */
export async function assertInvariant(project: Project): Promise<Record<EnvironmentName, Serving>> {
  const { configuration, host, edge } = await openProject(project);
  const reports = await examineInvariant({ configuration, edge, host }, { version: readVersion(), leftAfterMs: 0 });
  const problems = reports.flatMap(({ name, findings }) => findings.map(({ message }) => `${name}: ${message}`));
  problems.push(...(await statusProblems(project)));

  const installed = await readInstalled(edge);
  if (!installed) throw new Error('the installed haproxy.cfg has no header');
  const applied = (await readApplied(edge))?.applied;
  if (!applied) throw new Error('no configuration is in force');
  const serving = Object.fromEntries(
    await Promise.all(
      (Object.keys(hosts) as EnvironmentName[]).map(async (name) => {
        const state = installed.states.find((one) => one.name === name);
        const served: Serving = { color: state?.color ?? 'blue', sha: state?.sha ?? null };
        const active = instancesOfColor({ host, edge }, applied, name, served.color);
        for (const { instance } of active) problems.push(...(await instanceProblems(instance, served)));
        problems.push(...(await visitorProblems(project, name, served)));
        return [name, served];
      }),
    ),
  ) as Record<EnvironmentName, Serving>;
  if (problems.length > 0) throw new Error(`these do not agree:\n${problems.join('\n')}`);
  return serving;
}

async function statusProblems(project: Project): Promise<string[]> {
  const { exitCode, document: status } = await project.json<Status>('status');
  if (exitCode !== 0) return [`status exits with ${exitCode}: ${JSON.stringify(status)}`];
  const { drift, needsOperator, running } = status.edge;
  return [
    ...drift.map(({ message }) => `drift: ${message}`),
    ...(needsOperator === null ? [] : [`needs an operator: ${needsOperator}`]),
    ...(running ? [] : ['status says that HAProxy does not run']),
    ...status.environments.flatMap(({ name, operation, queue }) => [
      ...(operation ? [`${name} has ${operation.id} under way`] : []),
      ...queue.map(({ id }) => `${name} has ${id} in its queue`),
    ]),
  ];
}

/** An instance of the active color runs the release, by its record, by the kernel and by its own word. */
async function instanceProblems(instance: Instance, { sha }: Serving): Promise<string[]> {
  if (sha === null) return [];
  const { name, host } = instance;
  const record = await readInstance(instance);
  if (!record.process) return [`${name} is active and was never started`];
  const { pid } = record.process;
  const variables = await host.readText(`/proc/${pid}/environ`);
  const folder = await host.run(['readlink', `/proc/${pid}/cwd`], { timeoutMs: lookMs });
  const answer = await visitOnce({ address: await addressOf(instance), port: instance.port, path: '/' });
  const facts = {
    'its record': record.sha,
    'its environment in /proc': /(?:^|\0)BASCULE_SHA=([^\0]*)/.exec(variables ?? '')?.[1] ?? null,
    'its own answer': answer.sha,
  };
  const problems = Object.entries(facts)
    .filter(([, found]) => found !== sha)
    .map(([what, found]) => `${name}: ${what} says ${found}, active is ${sha}`);
  if (record.wanted !== 'running' || record.isFailed) problems.push(`${name} is active and on record as ended`);
  if (!record.isAlive) problems.push(`${name}: process ${pid} on record does not run`);
  if (folder.stdout !== releaseFolder(instance, record)) {
    problems.push(`${name}: process ${pid} runs in ${folder.stdout || 'no folder'}`);
  }
  return problems;
}

function releaseFolder(instance: Instance, { sha, sha256 }: InstanceRecord): string {
  const { incus, component } = instance;
  if (incus) return `${releasesFolder({ project: incus.project, component })}/${sha}`;
  return instanceFiles(instance).release(sha ?? '', sha256 ?? '');
}

/** Of one in Incus this machine does not ask the name server that knows it. */
async function addressOf({ address, incus }: Instance): Promise<string> {
  if (!incus) return address;
  const found = (await incus.client.addresses()).find((one) => isIPv4(one) && !one.startsWith('127.'));
  return found ?? address;
}

async function visitorProblems(project: Project, environment: EnvironmentName, served: Serving): Promise<string[]> {
  const problems: string[] = [];
  for (const [component, path] of Object.entries(paths)) {
    const answer = await visitOnce({ ...project.edge, path, host: hosts[environment] });
    const expected: Omit<OneAnswer, 'headers'> =
      served.sha === null
        ? { status: 503, environment: null, component: null, color: null, sha: null }
        : { status: 200, environment, component, ...served };
    for (const [what, wanted] of Object.entries(expected)) {
      const found = answer[what as keyof typeof expected];
      if (found !== wanted) problems.push(`${environment}${path} is answered with ${what} ${found}, not ${wanted}`);
    }
  }
  return problems;
}
