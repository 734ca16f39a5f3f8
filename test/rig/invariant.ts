import { readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfiguration } from '../../src/config/load.js';
import type { AddressBook } from '../../src/domain/configuration.js';
import type { Color } from '../../src/domain/edge-state.js';
import type { Status } from '../../src/domain/inspect.js';
import { edgeOf } from '../../src/haproxy/edge.js';
import { readInstalled } from '../../src/haproxy/installed.js';
import { hostOf } from '../../src/hosts/edge-host.js';
import { LocalHost } from '../../src/hosts/local.js';
import { isProcessAlive } from '../../src/hosts/process-identity.js';
import { type InstanceRecord, parseRecord } from '../../src/instances/record.js';
import { examineInvariant } from '../../src/invariant.js';
import { readVersion } from '../../src/version.js';
import { type OneAnswer, visitOnce } from './one-visit.js';
import type { Project } from './project.js';

/** Which color of an environment visitors are given, with which release. */
export interface Serving {
  readonly color: Color;
  readonly sha: string | null;
}

interface Instances {
  readonly records: ReadonlyMap<string, InstanceRecord>;
  readonly addresses: AddressBook;
}

/** Where examples/local.yaml says that a visitor of an environment goes, and the prefix of its instances. */
const environments = {
  staging: { host: 'staging.localhost', prefix: 'demo-staging-' },
  prod: { host: 'localhost', prefix: 'demo-' },
} as const;
const paths = { api: '/api/v1/things', web: '/' } as const;

type EnvironmentName = keyof typeof environments;

/**
 * Whatever was killed: what `bascule doctor` looks at is as it is when nothing is under way, `status` says so too, real
 * visitors are answered by the active color, and the kernel knows each active instance as its record does. Needs a worker
 * that answers, and no operation under way. Names everything that is not so.
 */
export async function assertInvariant(project: Project): Promise<Record<EnvironmentName, Serving>> {
  const configuration = await loadConfiguration(join(project.directory, 'bascule.yaml'));
  const host = new LocalHost();
  const edge = edgeOf(configuration, hostOf(configuration.edge.host, host));
  const reports = await examineInvariant({ configuration, edge, host }, { version: readVersion(), leftAfterMs: 0 });
  const problems = reports.flatMap(({ name, findings }) => findings.map(({ message }) => `${name}: ${message}`));
  problems.push(...(await statusProblems(project)));

  const installed = await readInstalled(edge);
  if (!installed) throw new Error('the installed haproxy.cfg has no header');
  const instances = await readInstances(project);
  const serving = Object.fromEntries(
    await Promise.all(
      (Object.keys(environments) as EnvironmentName[]).map(async (name) => {
        const state = installed.states.find((one) => one.name === name);
        const served: Serving = { color: state?.color ?? 'blue', sha: state?.sha ?? null };
        problems.push(...(await instanceProblems(project, instances, name, served)));
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

async function readInstances({ directory }: Project): Promise<Instances> {
  const folder = join(directory, '.bascule/instances');
  const addresses = JSON.parse(await readFile(join(directory, '.bascule/addresses.json'), 'utf8')) as AddressBook;
  const records = new Map<string, InstanceRecord>();
  for (const name of Object.keys(addresses)) {
    const text = await readIfThere(join(folder, name, 'record'));
    if (text !== null) records.set(name, parseRecord({ directory: folder, name }, text));
  }
  return { records, addresses };
}

/** Each instance of the active color runs the release, by its record, by the kernel and by its own word. */
async function instanceProblems(
  project: Project,
  { records, addresses }: Instances,
  environment: EnvironmentName,
  { color, sha }: Serving,
): Promise<string[]> {
  if (sha === null) return [];
  const problems: string[] = [];
  for (const component of Object.keys(paths)) {
    const name = `${environments[environment].prefix}${component}-${color}`;
    const [record, address] = [records.get(name), addresses[name]];
    if (!record?.process || !address) {
      problems.push(`${name} is active and was never started`);
      continue;
    }
    const { pid } = record.process;
    const variables = await readIfThere(`/proc/${pid}/environ`);
    const folder = await readlink(`/proc/${pid}/cwd`).catch(() => null);
    const answer = await visitOnce({ ...address, path: '/' });
    const facts = {
      'its record': record.sha,
      'its environment in /proc': /(?:^|\0)BASCULE_SHA=([^\0]*)/.exec(variables ?? '')?.[1] ?? null,
      'its folder': /\/releases\/([0-9a-f]+)-[0-9a-f]{12}$/.exec(folder ?? '')?.[1] ?? null,
      'its own answer': answer.sha,
    };
    for (const [what, found] of Object.entries(facts)) {
      if (found !== sha) problems.push(`${name}: ${what} says ${found}, active is ${sha}`);
    }
    if (record.wanted !== 'running' || record.isFailed) problems.push(`${name} is active and on record as ended`);
    if (!(await isProcessAlive(record.process))) problems.push(`${name}: process ${pid} on record does not run`);
    if (!folder?.startsWith(project.directory)) problems.push(`${name}: process ${pid} runs in ${folder}`);
  }
  return problems;
}

async function visitorProblems(project: Project, environment: EnvironmentName, served: Serving): Promise<string[]> {
  const problems: string[] = [];
  for (const [component, path] of Object.entries(paths)) {
    const answer = await visitOnce({ ...project.edge, path, host: environments[environment].host });
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

async function readIfThere(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return null;
    throw error;
  });
}
