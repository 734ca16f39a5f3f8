import { colors } from '../../domain/edge-state.js';
import { instanceName, reservedEnvironmentNames } from '../../domain/names.js';
import { prefixOf } from '../derived.js';
import type { LenientInput } from '../lenient.js';
import { nearest } from '../nearest.js';
import { type Problem, wrong, wrongKey } from '../problem.js';
import {
  nameExpectation,
  namePattern,
  statusExpectation,
  statusPattern,
  variableExpectation,
  variablePattern,
} from '../values.js';
import { repeated } from './repeated.js';

const longestInstanceName = 63;
/** Beside the instances' folders lie two of these names. */
const reservedInstanceNames: readonly string[] = ['artifacts', 'data'];

/** The names that are keys, and what is named twice. */
export function nameProblems(input: LenientInput): Problem[] {
  return [
    ...countProblems(input),
    ...keyProblems(input),
    ...externalNameProblems(input),
    ...extraProblems(input),
    ...hostProblems(input),
    ...instanceNameProblems(input),
    ...listedInstanceProblems(input),
    ...certificateNameProblems(input),
  ];
}

function countProblems(input: LenientInput): Problem[] {
  return (['environments', 'components'] as const).flatMap((key) =>
    input[key] && Object.keys(input[key]).length === 0
      ? [wrong([key], `expected at least one ${key.slice(0, -1)}`)]
      : [],
  );
}

function keyProblems(input: LenientInput): Problem[] {
  const reserved: readonly string[] = reservedEnvironmentNames;
  const environments = Object.keys(input.environments ?? {});
  const variables = Object.entries(input.components ?? {}).flatMap(([component, { env } = {}]) =>
    Object.keys(env ?? {}).map((variable) => ['components', component, 'env', variable]),
  );
  return [
    ...environments
      .filter((name) => reserved.includes(name))
      .map((name) =>
        wrongKey(['environments', name], `expected another name than the reserved ${reserved.join(', ')}`),
      ),
    ...(['environments', 'components', 'external'] as const)
      .flatMap((key) => Object.keys(input[key] ?? {}).map((name) => [key, name]))
      .filter(([, name = '']) => !namePattern.test(name))
      .map((path) => wrongKey(path, `expected ${nameExpectation}`)),
    ...variables
      .filter((path) => !variablePattern.test(path.at(-1) ?? ''))
      .map((path) => wrongKey(path, `expected ${variableExpectation}`)),
    ...Object.keys(input.edge?.errors ?? {})
      .filter((status) => !statusPattern.test(status))
      .map((status) => wrongKey(['edge', 'errors', status], `expected ${statusExpectation}`)),
  ];
}

/** Environments and external sites have their hosts' conditions in the same frontend. */
function externalNameProblems(input: LenientInput): Problem[] {
  return Object.keys(input.external ?? {})
    .filter((name) => Object.hasOwn(input.environments ?? {}, name))
    .map((name) => wrongKey(['external', name], `"${name}" is the name of an environment already`));
}

function extraProblems(input: LenientInput): Problem[] {
  const { components } = input;
  if (!components) return [];
  return Object.keys(input.edge?.extra?.backend ?? {})
    .filter((name) => !Object.hasOwn(components, name))
    .map((name) =>
      wrongKey(['edge', 'extra', 'backend', name], `unknown component${nearest(name, Object.keys(components))}`),
    );
}

function hostProblems(input: LenientInput): Problem[] {
  const sites = [
    ...Object.entries(input.environments ?? {}).map(([name, given]) => ({ kind: 'environment', name, given })),
    ...Object.entries(input.external ?? {}).map(([name, given]) => ({ kind: 'external', name, given })),
  ];
  const hosts = sites.flatMap(({ kind, name, given }) =>
    (given?.hosts ?? []).map((host, index) => ({
      key: host?.toLowerCase(),
      owner: kind === 'external' ? `external site "${name}"` : `environment "${name}"`,
      path: [kind === 'external' ? kind : 'environments', name, 'hosts', index],
    })),
  );
  return repeated(hosts, (host, owner) => `"${host}" is a host of ${owner} already`);
}

function instanceNameProblems(input: LenientInput): Problem[] {
  const instances = Object.entries(input.environments ?? {}).flatMap(([environment, given]) => {
    const prefix = given && (given.prefix ?? (input.project && prefixOf(input.project, environment, undefined)));
    if (!prefix) return [];
    return Object.keys(input.components ?? {}).map((component) => ({
      names: colors.map((color) => instanceName({ prefix }, component, color)),
      owner: `${environment}, component "${component}"`,
      path: ['environments', environment, 'prefix'],
    }));
  });
  const tooLong = instances.flatMap(({ names, path }) => {
    const name = names.find((candidate) => candidate.length > longestInstanceName);
    return name
      ? [
          wrong(
            path,
            `expected instance names of at most ${longestInstanceName} characters: "${name}" has ${name.length}`,
          ),
        ]
      : [];
  });
  const same = repeated(
    instances.map(({ names: [key], owner, path }) => ({ key, owner, path })),
    (name, owner) => `expected another prefix: instance "${name}" is one of environment ${owner} already`,
  );
  return [...tooLong, ...same];
}

function listedInstanceProblems(input: LenientInput): Problem[] {
  const instances = Object.entries(input.components ?? {}).flatMap(([component, given]) =>
    (given?.instances ?? []).map((key, index) => ({
      key,
      owner: component,
      path: ['components', component, 'instances', index],
    })),
  );
  return [
    ...repeated(instances, (name, component) => `"${name}" is an instance of component "${component}" already`),
    ...instances
      .filter(({ key }) => key !== undefined && reservedInstanceNames.includes(key))
      .map(({ path }) => wrong(path, `expected another name than the reserved ${reservedInstanceNames.join(', ')}`)),
  ];
}

function certificateNameProblems(input: LenientInput): Problem[] {
  const domains = (input.certificates?.domains ?? []).flatMap((names, certificate) =>
    (names ?? []).map((name, index) => ({
      key: name?.toLowerCase(),
      owner: names?.[0]?.toLowerCase() ?? '',
      path: ['certificates', 'domains', certificate, index],
    })),
  );
  return repeated(domains, (name, first) => `"${name}" is in the certificate of "${first}" already`);
}
