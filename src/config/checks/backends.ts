import { backendName, externalBackendName, ownSections } from '../../domain/names.js';
import { poolOf } from '../derived.js';
import { type LenientInput, topologyOf } from '../lenient.js';
import type { Problem } from '../problem.js';
import { repeated } from './repeated.js';

/** Names of haproxy.cfg's own frontends and backends, and what they are for. */
const reserved = {
  [ownSections.frontend]: 'the frontend of all sites',
  [ownSections.metrics]: 'the frontend of metrics',
  [ownSections.unknownHost]: 'the backend of unknown hosts',
  [ownSections.challenge]: 'the backend of certificate challenges',
};

/** No two frontends and backends of haproxy.cfg have one name. */
export function backendProblems(input: LenientInput): Problem[] {
  return [...poolProblems(input), ...backendNameProblems(input)];
}

function poolProblems(input: LenientInput): Problem[] {
  const pools = Object.entries(input.components ?? {}).map(([name, given]) => ({
    key: given && poolOf(name, given.pool),
    owner: name,
    path: ['components', name, 'pool'],
  }));
  return repeated(pools, (pool, component) => `pool "${pool}" is the one of component "${component}" already`);
}

function backendNameProblems(input: LenientInput): Problem[] {
  const topology = topologyOf(input);
  const components = Object.entries(input.components ?? {}).flatMap(([name, given]) =>
    given ? [{ name, pool: poolOf(name, given.pool) }] : [],
  );
  const environments = topology === 'blue-green' ? Object.keys(input.environments ?? {}) : [];
  const pools = components.flatMap(({ name, pool }, index) => {
    // A pool that another component has too is shown as such.
    if (components.findIndex((other) => other.pool === pool) < index) return [];
    const owner = (environment?: string) =>
      `the backend of component "${name}"${environment === undefined ? '' : ` in environment "${environment}"`}`;
    const path = ['components', name, 'pool'];
    return topology === 'multi-instance'
      ? [{ key: backendName(null, pool), owner: owner(), path }]
      : environments.map((environment) => ({ key: backendName(environment, pool), owner: owner(environment), path }));
  });
  const external = Object.keys(input.external ?? {}).map((name) => ({
    key: externalBackendName(name),
    owner: `the backend of external site "${name}"`,
    path: ['external', name],
    at: 'key' as const,
  }));
  const own = Object.entries(reserved).map(([key, owner]) => ({ key, owner, path: [] }));
  return repeated(
    [...own, ...pools, ...external],
    (name, owner) => `expected another name: "${name}" is ${owner} already`,
  );
}
