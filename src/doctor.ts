import { dirname, join } from 'node:path';
import type { Project } from './activities/project.js';
import { readCertificateStates } from './certificate-states.js';
import { check, NotChecked } from './check.js';
import { wantedConfiguration } from './config/address-book.js';
import { readEnv, readSecret } from './config/secrets.js';
import type { CertificateFacts } from './domain/certificates.js';
import type { AppliedConfiguration } from './domain/configuration.js';
import type { DiskUsage, Examination } from './domain/examination.js';
import { BasculeError } from './errors.js';
import { certificateFilesRefused } from './haproxy/certificate-folder.js';
import { edgeFiles } from './haproxy/edge.js';
import { examineFile, examineProcess, examineProgram } from './haproxy/examine.js';
import { isApplied, readApplied, readInstalled } from './haproxy/installed.js';
import { bytesIn } from './hosts/disk.js';
import { probeArtifact } from './instances/artifact.js';
import { driverOf } from './instances/drivers.js';
import { examineDisk, measure, measureInstances } from './instances/examine.js';
import { examineKernelLimits } from './instances/kernel-limits.js';
import { allInstances } from './instances/places.js';
import { examineInvariant } from './invariant.js';
import { examineRootProcesses } from './root-processes.js';

/** Longer than any step of an operation has a half-written file, a migration of ten minutes included. */
const leftAfterMs = 15 * 60_000;
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
  const invariant = examineInvariant(project, { version, leftAfterMs });
  const checks = await Promise.all([
    check('bascule.yaml', async () => {
      if (problem !== null) throw new BasculeError('config-broken', { problem });
      const wanted = await wantedConfiguration(configuration);
      if (inForce && !isApplied(inForce.applied, wanted)) throw new BasculeError('config-not-applied', {});
      return null;
    }),
    check('HAProxy', () => examineProgram(edge)),
    check('HAProxy runs', () => examineProcess(edge)),
    check('haproxy.cfg', () => examineFile(edge)),
    check('instances', () => examineInstances(project, applied)),
    ...(applied && areBesideEdge(applied)
      ? [check('kernel', () => examineKernelLimits(edge.host, Object.keys(applied.addresses).length + 1))]
      : []),
    check('users', () => examineRootProcesses(project)),
    check('secrets', async () => {
      for (const component of configuration.components) await readEnv(component);
      return null;
    }),
    check('certificates', () => examineCertificates(project)),
    check('artifacts', () => examineArtifacts(project)),
    check('disk', () => examineDisk(edge.host, dirname(edge.configuration.files.config))),
  ]);
  return {
    at: new Date().toISOString(),
    checks: [...checks, ...(await invariant)],
    usage: await measureAll(project),
  };
}

async function examineInstances(
  project: ExaminedProject,
  applied: AppliedConfiguration | null,
): Promise<readonly BasculeError[] | NotChecked> {
  if (!applied) return new NotChecked('no configuration is applied that could be read');
  const all = allInstances(project, applied);
  return (await Promise.all(all.map(({ instance }) => driverOf(instance).examineInstance(instance)))).flat();
}

/** Whether instances of Incus share a machine with the edge. */
function areBesideEdge({ configuration: { edge, instances } }: AppliedConfiguration): boolean {
  const { remote = 'local' } = edge.host.driver === 'incus' ? edge.host : {};
  return instances.driver === 'incus' && (instances.remote ?? 'local') === remote;
}

/** Those that are missing, or not as they should be; what is merely due is seen to by the schedule. */
async function examineCertificates(project: ExaminedProject): Promise<string | null | readonly BasculeError[]> {
  const refused = await certificateFilesRefused(project.edge);
  const states = await readCertificateStates(project);
  const [soonest] = states
    .flatMap(({ certificate }) => (certificate ? [certificate] : []))
    .toSorted((a, b) => a.notAfter.localeCompare(b.notAfter));
  const bad = states.filter(
    ({ state, certificate }) => state !== 'valid' && !(state === 'due' && isYoung(certificate)),
  );
  if (bad.length === 0 && refused === null)
    return soonest ? `the first expires ${soonest.notAfter.slice(0, 10)}` : null;
  const notGood = bad.map(({ name, state, certificate }) => {
    return new BasculeError('certificate-not-good', { name, state, notAfter: certificate?.notAfter ?? null });
  });
  return refused ? [refused, ...notGood] : notGood;
}

/** More than a sixth of its lifetime is left: its renewal, at a third, has not failed for long. */
function isYoung(certificate: CertificateFacts | null): boolean {
  if (!certificate) return false;
  const [from, until] = [Date.parse(certificate.notBefore), Date.parse(certificate.notAfter)];
  return until - Date.now() > (until - from) / 6;
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

async function measureAll({ configuration, edge, host }: ExaminedProject): Promise<readonly DiskUsage[]> {
  const { config } = edgeFiles(edge);
  const { project } = configuration;
  const { directory, addressBook } = configuration.instances;
  // Where `bascule dev` has it, and where the unit of `bascule init --systemd` does.
  const databases = [dirname(addressBook), `/var/lib/bascule-${project}`].map((folder) => join(folder, 'temporal.db'));
  const temporal = databases.map(async (path) => ({
    ...{ what: 'Temporal', path, bytes: (await measure(path)) + (await measure(`${path}-wal`)) },
  }));
  return [
    ...(await measureInstances(host, directory)),
    { what: 'edge', path: dirname(config), bytes: await bytesIn(edge.host, dirname(config)) },
    ...(await Promise.all(temporal)).filter(({ bytes }) => bytes > 0),
  ];
}
