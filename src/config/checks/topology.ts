import { driverOf, incusInstancesOf, type LenientInput, topologyOf } from '../lenient.js';
import { type Problem, wrong, wrongKey } from '../problem.js';
import { artifactsExpectation } from '../schema/artifacts.js';
import { environmentsExpectation } from '../schema.js';
import { argvExpectation } from '../values.js';

/** What is there only where Bascule runs a component. */
const keysOfDeployed = ['migrate', 'user', 'env', 'startDeadline', 'stopGrace'] as const;

/** What each topology and each driver needs, and what they do not have. */
export function topologyProblems(input: LenientInput): Problem[] {
  const topology = topologyOf(input);
  return [
    ...(topology === 'blue-green' ? blueGreenProblems(input) : []),
    ...(topology === 'multi-instance' ? multiInstanceProblems(input) : []),
    ...driverProblems(input),
  ];
}

const missing = (expectation: string) => `is missing: expected ${expectation}`;

type LenientComponent = NonNullable<NonNullable<LenientInput['components']>[string]>;

function eachComponent(
  input: LenientInput,
  problemsOf: (component: LenientComponent, path: readonly string[]) => readonly Problem[],
): Problem[] {
  return Object.entries(input.components ?? {}).flatMap(([name, component]) =>
    component ? problemsOf(component, ['components', name]) : [],
  );
}

function blueGreenProblems(input: LenientInput): Problem[] {
  const message = 'expected only with `topology: multi-instance`';
  return [
    ...('environments' in input ? [] : [wrong(['environments'], missing(environmentsExpectation))]),
    ...('artifacts' in input ? [] : [wrong(['artifacts'], missing(artifactsExpectation))]),
    ...(isUnfindable(input)
      ? [
          wrong(
            ['instances', 'domain'],
            missing(
              'a domain such as lxd, by which the edge finds instances; or `addresses` where no name server does',
            ),
          ),
        ]
      : []),
    ...eachComponent(input, (component, path) => [
      ...('run' in component ? [] : [wrong([...path, 'run'], missing(argvExpectation))]),
      ...(['instances', 'fallback'] as const)
        .filter((key) => key in component)
        .map((key) => wrongKey([...path, key], message)),
    ]),
  ];
}

function multiInstanceProblems(input: LenientInput): Problem[] {
  const message = 'expected only with `topology: blue-green`';
  return [
    ...(['environments', 'external'] as const).filter((key) => key in input).map((key) => wrongKey([key], message)),
    ...artifactsProblems(input),
    ...eachComponent(input, (component, path) => [
      ...serverProblems(input, component, path),
      ...runProblems(component, path),
    ]),
  ];
}

/** Side by side a component is deployed where it has `run`. */
function artifactsProblems(input: LenientInput): Problem[] {
  const isDeployed = Object.values(input.components ?? {}).some((component) => component && 'run' in component);
  if ('artifacts' in input === isDeployed) return [];
  return isDeployed
    ? [wrong(['artifacts'], missing(artifactsExpectation))]
    : [wrongKey(['artifacts'], 'expected only where a component has `run`')];
}

function runProblems(component: LenientComponent, path: readonly string[]): Problem[] {
  if (!('run' in component)) {
    return keysOfDeployed
      .filter((key) => key in component)
      .map((key) => wrongKey([...path, key], 'expected only with `run`'));
  }
  if ('instances' in component) return [];
  return [wrongKey([...path, 'run'], 'expected only with `instances`, in which it runs')];
}

/** Whether the edge has no way to find instances of Incus. */
function isUnfindable(input: LenientInput): boolean {
  const given = incusInstancesOf(input);
  return given !== null && !('domain' in given) && !('addresses' in given);
}

/** Where a pool in multi-instance has its servers from. */
function serverProblems(input: LenientInput, component: LenientComponent, path: readonly string[]): Problem[] {
  if (!('instances' in component)) {
    return 'fallback' in component
      ? []
      : [wrong([...path, 'instances'], missing('the names of its instances, or `fallback` with addresses'))];
  }
  if ('fallback' in component || !isUnfindable(input)) return [];
  return [
    wrong(
      [...path, 'fallback'],
      missing(
        "the addresses of its servers: without `instances.domain` or `addresses` the edge can't find its instances",
      ),
    ),
  ];
}

/** `useradd` refuses longer ones. */
const longestUserName = 32;

/** In Incus programs run as a user each, which is named after project and component where nothing else is said. */
function userNameProblems({ project, ...input }: LenientInput): Problem[] {
  if (project === undefined || driverOf(input) !== 'incus') return [];
  return eachComponent(input, (component, path) => {
    const user = `${project}-${path.at(-1)}`;
    if (!('run' in component) || 'user' in component || user.length <= longestUserName) return [];
    const wanted = `whom its program runs as, in at most ${longestUserName} characters`;
    return [wrong([...path, 'user'], missing(`${wanted}: ${user} has ${user.length}`))];
  });
}

/** What processes of the worker's machine do not have, and why. */
const keysOfIncus = {
  user: ": the process driver runs everything as the worker's user",
  profiles: ', whose profiles they are',
} as const;

function driverProblems(input: LenientInput): Problem[] {
  if (driverOf(input) !== 'process') return userNameProblems(input);
  return eachComponent(input, (component, path) =>
    (['user', 'profiles'] as const)
      .filter((key) => component[key] !== undefined)
      .map((key) => wrongKey([...path, key], `expected only with \`instances.driver: incus\`${keysOfIncus[key]}`)),
  );
}
