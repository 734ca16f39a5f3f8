import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { AddressBook } from '../../src/domain/configuration.js';
import type { Color } from '../../src/domain/edge-state.js';
import { parseHistory } from '../../src/domain/history.js';
import type { Status } from '../../src/domain/inspect.js';
import { digestOf, parseInstalledConfiguration } from '../../src/haproxy/header.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { isProcessAlive } from '../../src/hosts/process-identity.js';
import { type InstanceRecord, parseRecord } from '../../src/instances/record.js';
import { type OneAnswer, visitOnce } from './one-visit.js';
import { type MachineProcess, processesOf } from './processes.js';
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
 * Whatever was killed: edge, files, instances and what `status` says agree, visitors are answered by the active color,
 * and nothing half-done is left. Needs a worker that answers, and no operation under way. Names everything that is not so.
 */
export async function assertInvariant(project: Project): Promise<Record<EnvironmentName, Serving>> {
  const problems: string[] = [];
  const expect = (isSo: boolean, what: string) => {
    if (!isSo) problems.push(what);
  };
  const edge = join(project.directory, '.bascule/edge');
  const text = await readFile(join(edge, 'haproxy.cfg'), 'utf8');
  const installed = parseInstalledConfiguration(text);
  if (!installed) throw new Error(`the installed haproxy.cfg has no header: ${text.slice(0, 200)}`);

  const running = await readRunning(join(edge, 'haproxy.sock'), 2_000);
  expect(installed.digest === installed.headerDigest, `header ${installed.headerDigest}, content ${installed.digest}`);
  expect(running?.digest === installed.digest, `HAProxy runs ${running?.digest}, installed is ${installed.digest}`);
  expect(
    running?.generation === installed.generation,
    `HAProxy runs generation ${running?.generation}, installed is ${installed.generation}`,
  );
  const rendered = await renderedDigest(project, installed.states);
  expect(rendered === installed.digest, `bascule render gives ${rendered}, installed is ${installed.digest}`);
  problems.push(...(await statusProblems(project)));

  const instances = await readInstances(project);
  const serving = Object.fromEntries(
    await Promise.all(
      (Object.keys(environments) as EnvironmentName[]).map(async (name) => {
        const state = installed.states.find((one) => one.name === name);
        const served: Serving = { color: state?.color ?? 'blue', sha: state?.sha ?? null };
        problems.push(...(await stateFileProblems(join(edge, 'state'), name, served)));
        problems.push(...(await instanceProblems(project, instances, name, served)));
        problems.push(...(await visitorProblems(project, name, served)));
        return [name, served];
      }),
    ),
  ) as Record<EnvironmentName, Serving>;
  problems.push(...(await leftovers(join(project.directory, '.bascule'))));
  problems.push(...(await processProblems(project, instances)));
  if (problems.length > 0) throw new Error(`these do not agree:\n${problems.join('\n')}`);
  return serving;
}

async function renderedDigest(
  project: Project,
  states: readonly { name: string; color: Color; standby: string | null }[],
): Promise<string> {
  const options = states.flatMap(({ name, color, standby }) => [
    '--active',
    `${name}=${color}`,
    ...(standby === null ? ['--no-standby', name] : []),
  ]);
  return digestOf(`${(await project.bascule('render', ...options)).stdout}\n`);
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

async function stateFileProblems(folder: string, environment: string, { color, sha }: Serving): Promise<string[]> {
  const file = join(folder, `active-color-${environment}`);
  const [colorFile, history] = await Promise.all([readIfThere(file), readIfThere(`${file}.history`)]);
  const top = parseHistory(history ?? '')?.[0] ?? null;
  if (sha === null) return top ? [`nothing is deployed to ${environment}; its history begins with ${top.sha}`] : [];
  return [
    ...(colorFile === `${color}\n` ? [] : [`${file} says ${JSON.stringify(colorFile)}, the header ${color}`]),
    ...(top?.color === color && top.sha === sha
      ? []
      : [`the history of ${environment} begins with ${top?.color} ${top?.sha}, the header says ${color} ${sha}`]),
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

/** Files that stand for something half-done. */
async function leftovers(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true });
  return found
    .filter((path) => /\.staged$|\.tmp$|\.partial|\.unpacked-|worker\.lease\.|needs-operator$/.test(path))
    .map((path) => `${path} is left`);
}

async function processProblems(project: Project, { records }: Instances): Promise<string[]> {
  const processes = await processesOf(project.directory);
  const haproxy = processes.filter(({ name }) => name === 'haproxy');
  const masters = haproxy.filter(({ parent }) => !haproxy.some(({ pid }) => pid === parent));
  const known = new Set([...records.values()].map((record) => record.process?.pid));
  const isService = ({ commandLine }: MachineProcess) => commandLine.some((word) => word.endsWith('server.mjs'));
  const strays = processes.filter((process) => isService(process) && !known.has(process.pid));
  return [
    ...(masters.length === 1 ? [] : [`there are ${masters.length} HAProxy masters: ${JSON.stringify(masters)}`]),
    ...strays.map(({ pid, folder }) => `process ${pid} in ${folder} stands in no record`),
  ];
}

async function readIfThere(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return null;
    throw error;
  });
}
