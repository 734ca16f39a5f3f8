import { isAbsolute } from 'node:path';
import { addressCapacity, isEveryAddress, isSingle, networkAddress } from '../domain/addresses.js';
import { defaults } from '../domain/defaults.js';
import { colors } from '../domain/edge-state.js';
import { instanceName, reservedEnvironmentNames } from '../domain/names.js';
import { artifactUrlProblem } from './artifact-url.js';
import { edgeFiles, isDefaultComponent, poolOf, prefixOf, readAddressRange, readBindAddress } from './derived.js';
import type { LenientInput } from './lenient.js';
import type { ConfigurationPath, Problem } from './problem.js';
import {
  filePathCharacters,
  filePathPattern,
  nameExpectation,
  namePattern,
  variableExpectation,
  variablePattern,
} from './values.js';

/** Bytes of a Unix socket's path: the system takes 107, HAProxy binds it with `.<pid>.tmp` appended. */
const longestSocketPath = 90;
const longestInstanceName = 63;

/**
 * What no field can tell alone. It runs on what the schema let through, so that these errors are shown together with the
 * schema's; what is missing or wrong already is passed over.
 */
export function crossFieldProblems(input: LenientInput, folder: string): Problem[] {
  return [
    ...nameProblems(input),
    ...hostProblems(input),
    ...instanceNameProblems(input),
    ...poolProblems(input),
    ...routeProblems(input),
    ...defaultProblems(input),
    ...fileProblems(input, folder),
    ...addressProblems(input),
    ...artifactProblems(input),
  ];
}

const wrong = (path: ConfigurationPath, message: string): Problem => ({ path, at: 'value', message });
const wrongKey = (path: ConfigurationPath, message: string): Problem => ({ path, at: 'key', message });

function nameProblems(input: LenientInput): Problem[] {
  const environments = input.environments && Object.keys(input.environments);
  const components = input.components && Object.keys(input.components);
  const variables = Object.entries(input.components ?? {}).flatMap(([component, { env } = {}]) =>
    Object.keys(env ?? {}).map((variable) => ({ component, variable })),
  );
  const reserved: readonly string[] = reservedEnvironmentNames;
  return [
    ...(environments?.length === 0 ? [wrong(['environments'], 'expected at least one environment')] : []),
    ...(components?.length === 0 ? [wrong(['components'], 'expected at least one component')] : []),
    ...(environments ?? [])
      .filter((name) => reserved.includes(name))
      .map((name) =>
        wrongKey(['environments', name], `expected another name than the reserved ${reserved.join(', ')}`),
      ),
    ...[
      ...(environments ?? []).map((name) => ['environments', name]),
      ...(components ?? []).map((name) => ['components', name]),
    ]
      .filter(([, name = '']) => !namePattern.test(name))
      .map((path) => wrongKey(path, `expected ${nameExpectation}`)),
    ...variables
      .filter(({ variable }) => !variablePattern.test(variable))
      .map(({ component, variable }) =>
        wrongKey(['components', component, 'env', variable], `expected ${variableExpectation}`),
      ),
  ];
}

function hostProblems(input: LenientInput): Problem[] {
  const hosts = Object.entries(input.environments ?? {}).flatMap(([environment, given]) =>
    (given?.hosts ?? []).map((host, index) => ({
      key: host?.toLowerCase(),
      owner: environment,
      path: ['environments', environment, 'hosts', index],
    })),
  );
  return repeated(hosts, (host, environment) => `"${host}" is a host of environment "${environment}" already`);
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

function poolProblems(input: LenientInput): Problem[] {
  const pools = Object.entries(input.components ?? {}).map(([name, given]) => ({
    key: given && poolOf(name, given.pool),
    owner: name,
    path: ['components', name, 'pool'],
  }));
  return repeated(pools, (pool, component) => `pool "${pool}" is the one of component "${component}" already`);
}

function routeProblems(input: LenientInput): Problem[] {
  const routes = Object.entries(input.components ?? {}).flatMap(([name, given]) =>
    (given?.routes ?? []).map((route, index) => ({
      key: route?.prefix,
      owner: name,
      path: ['components', name, 'routes', index, 'prefix'],
    })),
  );
  return repeated(routes, (prefix, component) => `prefix "${prefix}" leads to component "${component}" already`);
}

interface Occurrence {
  readonly key: string | undefined;
  readonly owner: string;
  readonly path: ConfigurationPath;
}

/** A problem for each occurrence of a key that an earlier one has. */
function repeated(occurrences: readonly Occurrence[], message: (key: string, owner: string) => string): Problem[] {
  const owners = new Map<string, string>();
  return occurrences.flatMap(({ key, owner, path }) => {
    if (key === undefined) return [];
    const earlier = owners.get(key);
    if (earlier !== undefined) return [wrong(path, message(key, earlier))];
    owners.set(key, owner);
    return [];
  });
}

function defaultProblems(input: LenientInput): Problem[] {
  const components = Object.entries(input.components ?? {});
  const isUnknown = components.some(([, given]) => !given || ('default' in given && given.default === undefined));
  const [first, ...others] = components.filter(([, given]) => isDefaultComponent(given?.default, components.length));
  if (!first) {
    return isUnknown || components.length === 0
      ? []
      : [wrongKey(['components'], 'expected `default: true` in one component, which takes what no route takes')];
  }
  return others.map(([name]) =>
    wrong(['components', name, 'default'], `expected one default component: "${first[0]}" is it already`),
  );
}

function fileProblems(input: LenientInput, folder: string): Problem[] {
  const given = input.edge?.files ?? {};
  const files = edgeFiles(given, folder);
  const paths = [given.config, given.state, given.certificates, given.socket, given.master, input.instances?.directory];
  const hasRelative = paths.some((path) => path === undefined || !isAbsolute(path));
  const sockets = [
    { key: 'socket', path: files.socket },
    { key: 'master', path: files.masterSocket },
  ].filter(({ path }) => Buffer.byteLength(path) > longestSocketPath);
  return [
    ...(hasRelative && !filePathPattern.test(folder)
      ? [
          wrongKey(
            [],
            `expected this file in a folder whose path has ${filePathCharacters} only, not ${JSON.stringify(folder)}`,
          ),
        ]
      : []),
    // Without a path of its own the master's socket follows the other one, which is shown alone then.
    ...sockets
      .slice(0, given.master === undefined ? 1 : 2)
      .map(({ key, path }) =>
        wrong(
          ['edge', 'files', key],
          `expected a socket's path of at most ${longestSocketPath} bytes: ${JSON.stringify(path)} has ${Buffer.byteLength(path)}`,
        ),
      ),
    ...(files.socket === files.masterSocket
      ? [wrong(['edge', 'files', 'master'], 'expected another path than that of `socket`')]
      : []),
  ];
}

function addressProblems(input: LenientInput): Problem[] {
  const path = ['instances', 'addresses'];
  // A wrong value is there, as undefined; a missing one has a default.
  const given = input.instances;
  if (given && 'addresses' in given && given.addresses === undefined) return [];
  const range = readAddressRange(given?.addresses);
  const http = readBindAddress(input.edge?.http ?? '');
  const takenPorts = Object.entries(input.components ?? {}).filter(
    ([, component]) =>
      !isSingle(range) && isEveryAddress(http) && (component?.port ?? defaults.componentPort) === http.port,
  );
  const count =
    Object.keys(input.environments ?? {}).length * Object.keys(input.components ?? {}).length * colors.length;
  const capacity = addressCapacity(range, http);
  return [
    ...(isSingle(range) || range.address.startsWith('127.')
      ? []
      : [wrong(path, 'expected a range within 127.0.0.0/8, or one address')]),
    ...(range.address.startsWith('0.') ? [wrong(path, 'expected an address that instances can listen on')] : []),
    ...(networkAddress(range) === range.address
      ? []
      : [wrong(path, `expected ${networkAddress(range)}/${range.prefixLength}, the beginning of that range`)]),
    ...(count > capacity
      ? [
          wrong(
            path,
            `expected room for ${count} instances (environments × components × 2 colors), this has ${capacity}`,
          ),
        ]
      : []),
    ...takenPorts.map(([name]) =>
      wrong(
        ['components', name, 'port'],
        `expected another port than ${http.port}: the edge takes it on every address`,
      ),
    ),
  ];
}

function artifactProblems(input: LenientInput): Problem[] {
  return (['url', 'checksum'] as const).flatMap((key) => {
    const url = input.artifacts?.[key];
    const problem = url === undefined ? null : artifactUrlProblem(key, url);
    return problem === null ? [] : [wrong(['artifacts', key], problem)];
  });
}
