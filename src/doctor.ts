import { dirname, join } from 'node:path';
import type { Project } from './activities/project.js';
import { wantedConfiguration } from './config/address-book.js';
import { readEnv, readSecret } from './config/secrets.js';
import type { AppliedConfiguration } from './domain/configuration.js';
import type { CheckReport, DiskUsage, Examination, Finding } from './domain/examination.js';
import { BasculeError, isBasculeError } from './errors.js';
import { type Edge, edgeFiles } from './haproxy/edge.js';
import { examineFile, examineProcess, examineProgram, examineState } from './haproxy/examine.js';
import { isApplied, readApplied, readInstalled } from './haproxy/installed.js';
import { serversNotUp } from './haproxy/readiness.js';
import { readRunning } from './haproxy/runtime.js';
import { probeArtifact } from './instances/artifact.js';
import { examineDisk, examineInstance, measure, measureInstances } from './instances/examine.js';
import { allInstances } from './instances/places.js';

/** Longer than any check takes that is not stuck. */
const checkMs = 15_000;
/** What stands for a sha where none was deployed yet. */
const noSha = '0000000';

export interface ExaminedProject extends Project {
  /** What is wrong with bascule.yaml itself, null where nothing is. */
  readonly problem: string | null;
}

/** Looks at everything on the machine of the edge and the instances; changes nothing. A check that fails is a finding. */
export async function examineHost(
  project: ExaminedProject,
  version: string,
): Promise<Omit<Examination, 'temporalAheadMs'>> {
  const { configuration, edge, problem } = project;
  const inForce = await readApplied(edge).catch(() => null);
  const applied = inForce?.applied ?? null;
  const checks = await Promise.all([
    check('bascule.yaml', async () => {
      if (problem !== null) throw new BasculeError('config-broken', { problem });
      const wanted = await wantedConfiguration(configuration);
      if (inForce && !isApplied(inForce.digest, wanted)) throw new BasculeError('config-not-applied', {});
      return null;
    }),
    check('HAProxy', () => examineProgram(edge)),
    check('HAProxy runs', () => examineProcess(edge)),
    check('haproxy.cfg', () => examineFile(edge)),
    check('files and process agree', () => examineState(edge, version)),
    check('servers are UP', () => examineServers(edge, applied)),
    check('instances', () => examineInstances(project, applied)),
    check('secrets', async () => {
      for (const component of configuration.components) await readEnv(component);
      return null;
    }),
    check('artifacts', () => examineArtifacts(project)),
    check('disk', () => examineDisk(dirname(edge.configuration.files.config))),
  ]);
  return { at: new Date().toISOString(), checks, usage: await measureAll(project) };
}

/** Runs one check within its time; what it throws, and what it answers as a list, are findings. */
export async function check(
  name: string,
  run: () => Promise<string | null | readonly BasculeError[]>,
): Promise<CheckReport> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    const error = new BasculeError('command-timed-out', { host: 'localhost', program: name, timeoutMs: checkMs });
    timer = setTimeout(() => reject(error), checkMs);
  });
  try {
    const seen = await Promise.race([run(), tooLong]);
    if (seen === null || typeof seen === 'string') return { name, note: seen, findings: [] };
    return { name, note: null, findings: seen.map(findingOf) };
  } catch (error) {
    return { name, note: null, findings: [findingOf(error)] };
  } finally {
    clearTimeout(timer);
  }
}

function findingOf(error: unknown): Finding {
  if (isBasculeError(error)) return { code: error.code, message: error.message, remedy: error.remedy };
  const said = error instanceof Error ? error.message : String(error);
  return {
    code: 'unforeseen',
    message: `this could not be checked: ${said}`,
    remedy: 'See what it says, then try again.',
  };
}

async function examineServers(edge: Edge, applied: AppliedConfiguration | null): Promise<readonly BasculeError[]> {
  const states = (await readInstalled(edge))?.states ?? [];
  // That HAProxy does not run is a finding of its own.
  if (!applied || !(await readRunning(edge.configuration.files.socket))) return [];
  const deployed = states.filter(({ sha }) => sha !== null);
  const found = await Promise.all(
    deployed.map(async ({ name: environment, color }) => {
      const servers = await serversNotUp(edge, applied, environment, color);
      return servers.length === 0 ? [] : [new BasculeError('color-not-up', { environment, color, servers })];
    }),
  );
  return found.flat();
}

async function examineInstances(
  project: ExaminedProject,
  applied: AppliedConfiguration | null,
): Promise<readonly BasculeError[]> {
  if (!applied) return [];
  const all = allInstances(project, applied);
  return (await Promise.all(all.map(({ instance }) => examineInstance(instance)))).flat();
}

/** Whether the artifacts can be had, by those of the active releases. */
async function examineArtifacts({ configuration, edge }: ExaminedProject): Promise<string | null> {
  const { artifacts } = configuration;
  if (!artifacts) return null;
  const states = (await readInstalled(edge))?.states ?? [];
  const missing: string[] = [];
  for (const { name: environment } of configuration.environments) {
    const sha = states.find(({ name }) => name === environment)?.sha ?? null;
    for (const { name: component } of configuration.components) {
      const url = await probeArtifact(artifacts, { component, environment, sha: sha ?? noSha }, readSecret);
      if (url !== null && sha !== null) missing.push(url);
    }
  }
  if (missing.length === 0) return 'can be read';
  return `can be asked for; no longer there, so that no rollback can deploy them again: ${missing.join(', ')}`;
}

async function measureAll({ configuration, edge }: ExaminedProject): Promise<readonly DiskUsage[]> {
  const { config } = edgeFiles(edge);
  const { project } = configuration;
  const { directory, addressBook } = configuration.instances;
  // Where `bascule dev` has it, and where the unit of `bascule init --systemd` does.
  const databases = [dirname(addressBook), `/var/lib/bascule-${project}`].map((folder) => join(folder, 'temporal.db'));
  const temporal = databases.map(async (path) => ({
    ...{ what: 'Temporal', path, bytes: (await measure(path)) + (await measure(`${path}-wal`)) },
  }));
  return [
    ...(await measureInstances(edge.host, directory)),
    { what: 'edge', path: dirname(config), bytes: await measure(dirname(config)) },
    ...(await Promise.all(temporal)).filter(({ bytes }) => bytes > 0),
  ];
}
