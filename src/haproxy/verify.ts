import { setTimeout as sleep } from 'node:timers/promises';
import type {
  AppliedConfiguration,
  ComponentConfiguration,
  EnvironmentConfiguration,
} from '../domain/configuration.js';
import type { ColorChange, EdgeChange, EdgeRecord, PoolAnswer, RenderPlan } from '../domain/edge-change.js';
import { instanceName } from '../domain/names.js';
import { probePath } from '../domain/routes.js';
import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import { proveCertificates } from './certificates.js';
import { type Edge, probeSocketPath } from './edge.js';
import { readApplied, readInstalled } from './installed.js';
import { probePool } from './probe.js';

/** So many answers in a row have to come from the new color. */
const answersInARow = 3;
const pollMs = 100;

/**
 * Asks the edge, from its own host, what visitors get now: after a color change the new color in every pool of its
 * environment, or no more of the old one where the new one never had a release; no other pool worse than before the
 * change; and the certificates that it brought. Tries again for `timeoutMs`.
 *
 * @throws `traffic-not-verified`, `certificate-not-served`, `applied-changed`
 */
export async function verifyTraffic(
  edge: Edge,
  request: { change: EdgeChange; record: EdgeRecord; plan: RenderPlan; timeoutMs: number },
): Promise<void> {
  const { change, record, plan, timeoutMs } = request;
  const inForce = await readApplied(edge);
  const installed = await readInstalled(edge);
  if (inForce?.digest !== plan.applied || !installed) {
    throw new BasculeError('applied-changed', { expected: plan.applied, found: inForce?.digest ?? null });
  }
  const switched = change.kind === 'color' ? change : null;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const problems = await findProblems(edge.host, inForce.applied, installed.probe, switched, record);
    if (problems.length === 0) break;
    if (performance.now() > deadline)
      throw new BasculeError('traffic-not-verified', { host: edge.host.name, problems });
    await sleep(pollMs);
  }
  const { https } = inForce.applied.configuration.edge;
  if (change.kind === 'certificates' && https) await proveCertificates(edge, change, https, timeoutMs);
}

/** How every pool answers, by `<environment>/<component>`; in multi-instance the environment is `default`. */
export async function probeEveryPool(
  from: Host,
  applied: AppliedConfiguration,
  probe: string,
): Promise<Record<string, PoolAnswer>> {
  const answers = allPools(applied).map(async (pool) => {
    return [pool.key, await ask(from, applied, pool.component, pool.hosts[0], probe)] as const;
  });
  return Object.fromEntries(await Promise.all(answers));
}

interface Pool {
  readonly key: string;
  /** Null in multi-instance. */
  readonly environment: EnvironmentConfiguration | null;
  /** Host names that lead to it. */
  readonly hosts: readonly [string, ...string[]];
  readonly component: ComponentConfiguration;
}

function allPools({ configuration }: AppliedConfiguration): readonly Pool[] {
  const { topology, environments, components } = configuration;
  if (topology === 'multi-instance') {
    return components.map((component) => ({
      key: `default/${component.name}`,
      environment: null,
      hosts: ['localhost'],
      component,
    }));
  }
  return environments.flatMap((environment) =>
    components.map((component) => {
      const [host = '', ...aliases] = environment.hosts;
      return {
        key: `${environment.name}/${component.name}`,
        environment,
        hosts: [host, ...aliases] as const,
        component,
      };
    }),
  );
}

async function findProblems(
  from: Host,
  applied: AppliedConfiguration,
  probe: string,
  switched: ColorChange | null,
  record: EdgeRecord,
): Promise<readonly string[]> {
  const problems = await Promise.all(
    allPools(applied).flatMap((pool) => {
      const { environment, component } = pool;
      if (!environment || environment.name !== switched?.environment) {
        return [worseProblem(from, applied, pool, probe, record.pools[pool.key])];
      }
      const [left, wanted] = [
        instanceName(environment, component.name, switched.from),
        instanceName(environment, component.name, switched.to),
      ];
      return pool.hosts.map((host) =>
        switched.sha === null
          ? oldColorProblem(from, applied, pool, host, probe, left)
          : newColorProblem(from, applied, pool, host, probe, wanted),
      );
    }),
  );
  return problems.filter((problem) => problem !== null);
}

async function newColorProblem(
  from: Host,
  applied: AppliedConfiguration,
  { key, component }: Pool,
  host: string,
  probe: string,
  wanted: string,
): Promise<string | null> {
  for (let count = 0; count < answersInARow; count += 1) {
    const answer = await ask(from, applied, component, host, probe);
    if (!isServed(answer) || serverName(answer) !== wanted) {
      return `${key} on ${host} answered ${describe(answer)}, not ${wanted}`;
    }
  }
  return null;
}

/** Nobody is to answer: 503, as before the first deploy. */
async function oldColorProblem(
  from: Host,
  applied: AppliedConfiguration,
  { key, component }: Pool,
  host: string,
  probe: string,
  left: string,
): Promise<string | null> {
  const answer = await ask(from, applied, component, host, probe);
  return serverName(answer) === left ? `${key} on ${host} is still answered by ${left}` : null;
}

async function worseProblem(
  from: Host,
  applied: AppliedConfiguration,
  { key, hosts: [host], component }: Pool,
  probe: string,
  before: PoolAnswer | undefined,
): Promise<string | null> {
  // The 503 of an empty or dead color stays allowed; so does a pool that is new.
  if (!before || !isServed(before)) return null;
  const answer = await ask(from, applied, component, host, probe);
  return isServed(answer) ? null : `${key} on ${host} answered ${describe(answer)}; before: ${describe(before)}`;
}

async function ask(
  from: Host,
  applied: AppliedConfiguration,
  component: ComponentConfiguration,
  host: string,
  probe: string,
): Promise<PoolAnswer> {
  const { edge: configuration, components } = applied.configuration;
  // A HAProxy that was started by an earlier version has no socket for it.
  const to = [{ path: probeSocketPath(configuration) }, configuration.http] as const;
  return await probePool({ from, to, host, path: probePath(component, components), probe });
}

/** A redirect or a refusal of the right server is an answer: only 5xx and silence are none. */
const isServed = (answer: PoolAnswer): boolean => answer.server !== null && answer.status > 0 && answer.status < 500;

/** `X-Bascule-Server` says `<pool>/<server>`. */
const serverName = (answer: PoolAnswer): string | undefined => answer.server?.split('/').at(-1);

const describe = (answer: PoolAnswer): string =>
  answer.status === 0 ? 'nothing' : `${answer.status} from ${answer.server ?? 'no server'}`;
