import { isIPv4 } from 'node:net';
import type { Color, EnvironmentState } from '../../src/domain/edge-state.js';
import type { Status } from '../../src/domain/inspect.js';
import { readApplied, readInstalled } from '../../src/haproxy/installed.js';
import { readInstance } from '../../src/instances/drivers.js';
import { instancesOfColor } from '../../src/instances/places.js';
import type { Instance } from '../../src/instances/record.js';
import { examineInvariant } from '../../src/invariant.js';
import { readVersion } from '../../src/version.js';
import { type OneAnswer, visitOnce } from './ask.js';
import { mustSucceed } from './chaos.js';
import { openProject } from './open-project.js';
import type { Project } from './project.js';

/** The active color of an environment, and its release. */
export interface Serving {
  readonly color: Color;
  readonly sha: string | null;
}

/** Hosts and paths of examples/local.yaml. */
const hosts = { staging: 'staging.localhost', prod: 'localhost' } as const;
const paths = { api: '/api/v1/things', web: '/' } as const;

type EnvironmentName = keyof typeof hosts;

/**
 * Whatever was killed: `bascule doctor` and `status` find nothing, no operation runs or waits, requests are answered by
 * the active color, and so does each of its instances, which runs in its release's folder. Needs a worker that answers.
 * Names everything that is not so.
 */
export async function assertInvariant(project: Project): Promise<Record<EnvironmentName, Serving>> {
  const { configuration, host, edge } = await openProject(project);
  const reports = await examineInvariant({ configuration, edge, host }, { version: readVersion(), leftAfterMs: 0 });
  const problems = reports.flatMap(({ name, findings }) => findings.map(({ message }) => `${name}: ${message}`));
  problems.push(...(await statusProblems(project)));

  const states = await statesOf(project);
  const applied = (await readApplied(edge))?.applied;
  if (!applied) throw new Error('no configuration is applied');
  const check = async (name: EnvironmentName): Promise<Serving> => {
    const { color = 'blue', sha = null } = states.get(name) ?? {};
    const serving: Serving = { color, sha };
    const active = sha === null ? [] : instancesOfColor({ host, edge }, applied, name, color);
    for (const { instance } of active) problems.push(...(await instanceProblems(instance, sha ?? '')));
    problems.push(...(await answerProblems(project, name, serving)));
    return serving;
  };
  const [staging, prod] = await Promise.all([check('staging'), check('prod')]);
  if (problems.length > 0) throw new Error(`these do not agree:\n${problems.join('\n')}`);
  return { staging, prod };
}

async function statesOf(project: Project): Promise<ReadonlyMap<string, EnvironmentState>> {
  const { edge } = await openProject(project);
  const installed = await readInstalled(edge);
  if (!installed) throw new Error('the installed haproxy.cfg has no header');
  return new Map(installed.states.map((state) => [state.name, state]));
}

async function statusProblems(project: Project): Promise<string[]> {
  const { exitCode, document: status } = await project.json<Status>('status');
  if (exitCode !== 0) return [`status exits with ${exitCode}: ${JSON.stringify(status)}`];
  const { drift, needsOperator, running } = status.edge;
  return [
    ...drift.map(({ message }) => `drift: ${message}`),
    ...(needsOperator === null ? [] : [`needs an operator: ${needsOperator}`]),
    ...(running ? [] : ['status says that HAProxy does not run']),
    ...status.environments.flatMap(({ name, operation, queue }) =>
      [...(operation ? [operation] : []), ...queue].map(({ id }) => `${id} runs or waits in ${name}`),
    ),
  ];
}

/** What the kernel and the instance itself say; doctor has compared its record. */
async function instanceProblems(instance: Instance, sha: string): Promise<string[]> {
  const { name, host, port } = instance;
  const { process } = await readInstance(instance);
  if (!process) return [`${name} is active and was never started`];
  const folder = (await host.run(['readlink', `/proc/${process.pid}/cwd`], { timeoutMs: 10_000 })).stdout;
  const answer = await visitOnce({ address: await addressOf(instance), port, path: '/' });
  return [
    ...(folder.includes(`/${sha}`) ? [] : [`${name}: process ${process.pid} runs in ${folder || 'no folder'}`]),
    ...(answer.sha === sha ? [] : [`${name} answers with ${answer.sha}, active is ${sha}`]),
  ];
}

/** This machine does not ask the name server that knows an instance of Incus. */
async function addressOf({ address, incus }: Instance): Promise<string> {
  if (!incus) return address;
  return (await incus.client.addresses()).find((one) => isIPv4(one) && !one.startsWith('127.')) ?? address;
}

async function answerProblems(project: Project, environment: EnvironmentName, serving: Serving): Promise<string[]> {
  const problems: string[] = [];
  for (const [component, path] of Object.entries(paths)) {
    const answer = await visitOnce({ ...project.edge, path, host: hosts[environment] });
    const expected: Omit<OneAnswer, 'headers'> =
      serving.sha === null
        ? { status: 503, environment: null, component: null, color: null, sha: null }
        : { status: 200, environment, component, ...serving };
    for (const [what, right] of Object.entries(expected)) {
      const found = answer[what as keyof typeof expected];
      if (found !== right) problems.push(`${environment}${path} is answered with ${what} ${found}, not ${right}`);
    }
  }
  return problems;
}

export interface ServingWithStandby {
  readonly color: Color;
  readonly sha: string;
  readonly standby: string;
}

/** Deploys until each of these environments has a standby; answers what they serve then. */
export async function withStandbys<Name extends string>(
  project: Project,
  environments: readonly Name[],
  nextSha: () => string,
): Promise<Record<Name, ServingWithStandby>> {
  const found = environments.map(async (name): Promise<readonly [Name, ServingWithStandby]> => {
    for (;;) {
      const { color, sha, standby } = (await statesOf(project)).get(name) ?? {};
      if (color && sha && standby) return [name, { color, sha, standby }];
      const next = nextSha();
      await project.releaseAll(next);
      await mustSucceed(project, 'deploy', name, next, '--soak', '0s');
    }
  });
  return Object.fromEntries(await Promise.all(found)) as Record<Name, ServingWithStandby>;
}
