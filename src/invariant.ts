import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Project } from './activities/project.js';
import { check, NotChecked } from './check.js';
import type { AppliedConfiguration, EnvironmentConfiguration } from './domain/configuration.js';
import { type EnvironmentState, neverDeployed, otherColor } from './domain/edge-state.js';
import type { CheckReport } from './domain/examination.js';
import { instanceName } from './domain/names.js';
import { sideBySideEnvironment } from './domain/rolling.js';
import { BasculeError } from './errors.js';
import { edgeFiles, runtimeSocket } from './haproxy/edge.js';
import { examineState } from './haproxy/examine.js';
import { readApplied, readInstalled } from './haproxy/installed.js';
import { serversNotUp } from './haproxy/readiness.js';
import { readReleases } from './haproxy/releases.js';
import { readProbe, readRunning } from './haproxy/runtime.js';
import { probeEveryPool } from './haproxy/verify.js';
import type { Host, HostProcess } from './hosts/host.js';
import { isHaproxy, isWithin, processesOf } from './hosts/processes.js';
import { readInstance } from './instances/drivers.js';
import { pathsLeftIn } from './instances/incus.js';
import { allInstances, instancesOfColor } from './instances/places.js';
import type { Instance, InstanceStatus } from './instances/record.js';
import { findLeftovers, pathsIn } from './worker-leftovers.js';

/** A switch installs, reloads and records in less: what differs for longer does so for good. */
const settleMs = 2_000;
const lookMs = 10_000;

export interface InvariantOptions {
  /** Version of Bascule. */
  readonly version: string;
  /** Half-written files and unknown processes are an operation's that is under way until they are so old, in ms. */
  readonly leftAfterMs: number;
}

/**
 * What is so on the machine of an edge whenever nothing is under way, however the last operation ended:
 * HAProxy runs the installed file, which is what the recorded colors render, and the history begins with them; the
 * instances of the active color and of the standby hold their release and run; each pool's visitors are answered by the
 * active color, and by nobody where nothing was deployed; nothing half-done is left.
 *
 * While something is under way, what is seen twice, two seconds apart, counts.
 */
export async function examineInvariant(project: Project, options: InvariantOptions): Promise<readonly CheckReport[]> {
  const isSo = (reports: readonly CheckReport[]) => reports.every(({ findings }) => findings.length === 0);
  const first = await lookOnce(project, options);
  if (isSo(first)) return first;
  await sleep(settleMs);
  return await lookOnce(project, options);
}

async function lookOnce(project: Project, options: InvariantOptions): Promise<readonly CheckReport[]> {
  const { edge } = project;
  const applied = (await readApplied(edge).catch(() => null))?.applied ?? null;
  const installed = await readInstalled(edge).catch(() => null);
  const known = { ...project, applied, states: installed?.states ?? [] };
  return await Promise.all([
    check('files and process agree', async () => {
      await examineState(edge, options.version);
      // What the files say was compared; there is no process to compare them with.
      return (await readRunning(runtimeSocket(edge))) ? null : new NotChecked('HAProxy does not answer');
    }),
    check('servers are UP', () => findServersNotUp(known)),
    check('instances hold their release', () => findOtherReleases(known)),
    check('visitors get the active color', () => findMisled(known)),
    check('nothing half-done is left', () => findLeft(known, options.leftAfterMs)),
  ]);
}

const nothingApplied = new NotChecked('no configuration is applied that could be read');

interface Known extends Project {
  readonly applied: AppliedConfiguration | null;
  readonly states: readonly EnvironmentState[];
}

/** What keeps what is asked of the edge from being checked; null where nothing does. */
async function whyNotAsked({ edge, applied }: Pick<Known, 'edge' | 'applied'>): Promise<NotChecked | null> {
  if (!applied) return nothingApplied;
  return (await readRunning(runtimeSocket(edge))) ? null : new NotChecked('HAProxy does not answer');
}

async function findServersNotUp(known: Known): Promise<readonly BasculeError[] | NotChecked> {
  const { edge, applied, states } = known;
  const why = await whyNotAsked(known);
  if (why || !applied) return why ?? nothingApplied;
  const found = await Promise.all(
    states.filter(isDeployed).map(async ({ name: environment, color }) => {
      const servers = await serversNotUp(edge, applied, environment, color);
      return servers.length === 0 ? [] : [new BasculeError('color-not-up', { environment, color, servers })];
    }),
  );
  return found.flat();
}

/** Every instance of the active color and of the standby, by its record, and by the kernel whether it runs. */
async function findOtherReleases(known: Known): Promise<readonly BasculeError[] | NotChecked> {
  const { applied, states } = known;
  if (!applied) return nothingApplied;
  if (applied.configuration.topology === 'multi-instance') return await findOthersSideBySide(known, applied);
  const wanted = states.flatMap(({ name, color, sha, standby }) => [
    ...(sha === null ? [] : [{ environment: name, color, sha, role: 'active' as const }]),
    ...(standby === null
      ? []
      : [{ environment: name, color: otherColor(color), sha: standby, role: 'standby' as const }]),
  ]);
  const found = await Promise.all(
    wanted.flatMap(({ environment, color, sha, role }) =>
      instancesOfColor(known, applied, environment, color).map(async ({ instance }) => {
        const { name, component } = instance;
        const problem = problemOf(await readInstance(instance), sha);
        if (problem === null) return [];
        return [
          new BasculeError('release-not-held', { instance: name, environment, component, color, sha, role, problem }),
        ];
      }),
    ),
  );
  return found.flat();
}

/** Every instance side by side holds the release on record. */
async function findOthersSideBySide(known: Known, applied: AppliedConfiguration): Promise<readonly BasculeError[]> {
  const environment = sideBySideEnvironment;
  const sha = (await readReleases(known.edge, environment)).lines[0]?.sha;
  if (sha === undefined) return [];
  const found = await Promise.all(
    instancesOfColor(known, applied, environment, null).map(async ({ instance }) => {
      const { name, component, color } = instance;
      const status = await readInstance(instance);
      const problem = problemOf(status, sha) ?? (status.isDrained ? 'has no visitors' : null);
      if (problem === null) return [];
      return [
        new BasculeError('release-not-held', {
          ...{ instance: name, environment, component, color, sha, role: 'active' as const, problem },
        }),
      ];
    }),
  );
  return found.flat();
}

function problemOf(found: InstanceStatus, sha: string): string | null {
  if (found.sha !== sha) return `holds ${found.sha ?? 'none'}`;
  if (found.isFailed) return 'is marked as failed';
  if (found.wanted === 'stopped') return 'is on record as stopped';
  return found.isAlive ? null : 'does not run';
}

/** Asks every pool through the edge, as a visitor of the environment's first host would. */
async function findMisled(known: Known): Promise<readonly BasculeError[] | NotChecked> {
  const { edge, applied, states } = known;
  const why = await whyNotAsked(known);
  if (why || !applied) return why ?? nothingApplied;
  const { environments, components } = applied.configuration;
  const answers = await probeEveryPool(edge.host, applied, await readProbe(runtimeSocket(edge)));
  return environments.flatMap((environment) => {
    const state = states.find(({ name }) => name === environment.name) ?? neverDeployed(environment.name);
    return components.flatMap(({ name: component }) => {
      const { server = null, status = 0 } = answers[`${environment.name}/${component}`] ?? {};
      const expected = serversOf(environment, component, state);
      const answered = server?.split('/').at(-1) ?? null;
      const isRight =
        expected.length === 0 ? answered === null && status === 503 : answered !== null && expected.includes(answered);
      if (isRight) return [];
      return [
        new BasculeError('visitors-elsewhere', {
          environment: environment.name,
          component,
          answered,
          status,
          expected,
        }),
      ];
    });
  });
}

/** Who may answer: the active color; the standby while the active one is down, which is a finding of its own. */
function serversOf(
  environment: EnvironmentConfiguration,
  component: string,
  { color, sha, standby }: EnvironmentState,
): readonly string[] {
  if (sha === null) return [];
  const colors = standby === null ? [color] : [color, otherColor(color)];
  return colors.map((one) => instanceName(environment, component, one));
}

interface Leftover {
  readonly on: Host;
  readonly path: string;
  /** Of Incus, where it is not on the worker's machine. */
  readonly instance: string | null;
}

async function findLeft(known: Known, leftAfterMs: number): Promise<readonly BasculeError[]> {
  const { edge, host, configuration } = known;
  const left: readonly Leftover[] = [
    ...(await edgeLeftovers(known)).map((path) => ({ on: edge.host, path, instance: edgeInstance(known) })),
    ...(await instanceLeftovers(known)),
    ...(await findLeftovers(configuration)).map((path) => ({ on: host, path, instance: null })),
  ];
  const found = await Promise.all(
    left.map(async ({ on, path, instance }) => {
      const since = await changedAt(on, path);
      if (since === null || Date.now() - since.getTime() < leftAfterMs) return [];
      return [new BasculeError('left-over', { path, instance, since: since.toISOString() })];
    }),
  );
  return [...found.flat(), ...(await findStrays(known, leftAfterMs))];
}

const halfWritten = /\.(?:staged|tmp)$/;

/** What the acts on the edge write beside the file that they replace. */
async function edgeLeftovers({ edge }: Known): Promise<readonly string[]> {
  const { config, applied } = edgeFiles(edge);
  const folders = new Set([dirname(config), dirname(applied), edge.configuration.files.certificates]);
  const found = [...folders].map(async (folder) => {
    const names = await edge.host.readFolder(folder);
    return names.filter((name) => halfWritten.test(name)).map((name) => join(folder, name));
  });
  return (await Promise.all(found)).flat();
}

const edgeInstance = ({ configuration: { edge } }: Known): string | null =>
  edge.host.driver === 'incus' ? edge.host.instance : null;

/** As `edgeLeftovers`, of the acts on instances. */
async function instanceLeftovers(known: Known): Promise<readonly Leftover[]> {
  const { directory } = known.configuration.instances;
  const found = everyInstance(known).map(async (instance) => {
    const { incus, name, host } = instance;
    const paths = incus ? await pathsLeftIn(instance) : await pathsIn(join(directory, name), halfWritten);
    return paths.map((path) => ({ on: host, path, instance: incus ? name : null }));
  });
  return (await Promise.all(found)).flat();
}

/** The instances whose files and processes are on this machine. */
const processesIn = (known: Known): readonly Instance[] => everyInstance(known).filter(({ incus }) => !incus);

const everyInstance = ({ applied, edge, host }: Known): readonly Instance[] =>
  applied ? allInstances({ edge, host }, applied).map(({ instance }) => instance) : [];

/** Processes in a release's folder that are no instance's by its record, and a second HAProxy of the same file. */
async function findStrays(known: Known, leftAfterMs: number): Promise<readonly BasculeError[]> {
  const { configuration, edge } = known;
  const { directory } = configuration.instances;
  const { config } = edge.configuration.files;
  const records = await Promise.all(processesIn(known).map(readInstance));
  const leaders = new Set(records.flatMap(({ process }) => (process ? [process.pid] : [])));
  const inReleases = (await processesOf(directory)).filter(
    ({ folder, session }) => isWithin(folder, directory) && !leaders.has(session),
  );
  const haproxy = (await edge.host.processesOf(config)).filter(isHaproxy);
  const masters = haproxy.filter(({ parent }) => !haproxy.some(({ pid }) => pid === parent));
  // The youngest is the one that serves: a worker without its master goes on until its connections end.
  const orphans = masters.toSorted((a, b) => a.ageMs - b.ageMs).slice(1);
  return [...inReleases, ...orphans].filter(({ ageMs }) => ageMs >= leftAfterMs).map(strayError);
}

const strayError = ({ pid, folder, commandLine }: HostProcess): BasculeError =>
  new BasculeError('stray-process', { pid, folder, program: commandLine[0] ?? '' });

/** When a file was changed last; null where it is gone. */
async function changedAt(host: Host, path: string): Promise<Date | null> {
  const { exitCode, stdout } = await host.run(['stat', '-c', '%Y', path], { timeoutMs: lookMs });
  return exitCode === 0 ? new Date(Number(stdout) * 1_000) : null;
}

const isDeployed = ({ sha }: EnvironmentState): boolean => sha !== null;
