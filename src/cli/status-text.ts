import { colors as bothColors, type Color } from '../domain/edge-state.js';
import type {
  ColorView,
  ComponentView,
  EdgeStatus,
  EnvironmentView,
  InstanceView,
  SideBySideView,
  Status,
} from '../domain/inspect.js';
import { shortSha } from '../domain/names.js';
import { formatAge, formatClock } from './format.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

/** How many releases of the history are shown; `bascule history` shows all. */
const shownReleases = 3;

/** A status for a person: the edge, then each environment. `ownVersion` is this command's. */
export function describeStatus(colors: Colors, status: Status, ownVersion: string): string {
  const environments = status.environments.map((environment) =>
    (environment.colors === null
      ? describeSideBySide(colors, environment)
      : describeEnvironment(colors, environment)
    ).join('\n'),
  );
  return [describeEdge(colors, status, ownVersion).join('\n'), ...environments].join('\n\n');
}

function describeEdge(
  colors: Colors,
  { project, version, edge, isConfigurationApplied, configurationProblem }: Status,
  ownVersion: string,
): string[] {
  const { bold, dim, red, yellow, cyan } = colors;
  const isFresh = edge.generation === null && edge.drift.length === 0;
  const isSilent = edge.drift.some(({ kind }) => kind === 'silent');
  const facts = [
    `edge ${edge.name} on ${edge.host}`,
    ...(isFresh ? ['not configured yet'] : edge.generation === null ? [] : [`generation ${edge.generation}`]),
    edge.running ? 'HAProxy runs' : red(isSilent ? 'HAProxy does not answer' : 'HAProxy does not run'),
    ...describeOldWorkers(edge),
  ];
  const troubles = [
    ...(edge.needsOperator === null ? [] : ['needs an operator:', ...edge.needsOperator.trim().split('\n')]),
    ...edge.drift.map(({ message }) => `drift: ${message}`),
  ];
  const repairs = 'bascule apply --repair';
  const remedies = new Set([
    ...edge.drift.map(({ remedy }) => remedy ?? repairs),
    ...(edge.needsOperator === null ? [] : [repairs]),
  ]);
  return [
    `${bold(project)}  ${dim(facts.join(' · '))}`,
    ...(version === ownVersion ? [] : [`  ${yellow(`the worker is version ${version}, this command ${ownVersion}`)}`]),
    ...(configurationProblem === null ? [] : describeProblem(colors, configurationProblem)),
    ...troubles.map((trouble) => `  ${red(trouble)}`),
    ...[...remedies].map((remedy) => `  ${cyan('→')} ${remedy}`),
    ...(troubles.length === 0 && (isFresh || !isConfigurationApplied)
      ? [
          `  ${yellow(isFresh ? 'nothing is applied yet' : 'bascule.yaml differs from what is applied')} ${cyan('→')} bascule apply`,
        ]
      : []),
  ];
}

function describeOldWorkers({ oldWorkers, oldWorkersEndBy }: EdgeStatus): string[] {
  if (oldWorkers === 0) return [];
  const who = oldWorkers === 1 ? '1 old HAProxy worker ends its' : `${oldWorkers} old HAProxy workers end their`;
  // A worker of an earlier version says no time.
  return [`${who} connections${oldWorkersEndBy ? `, by ${formatClock(oldWorkersEndBy)} at the latest` : ''}`];
}

function describeProblem({ red, cyan }: Colors, problem: string): string[] {
  return [
    ...problem.split('\n').map((line) => `  ${red(line)}`),
    `  ${cyan('→')} mend it: what was read last stays in force, and no deploy or apply begins until then`,
  ];
}

function describeEnvironment(colors: Colors, view: EnvironmentView): string[] {
  const { bold, dim, red, cyan } = colors;
  const sides = bothColors.toSorted((a, b) => Number(b === view.active) - Number(a === view.active));
  const rows = sides.flatMap((color) => [
    colorRow(colors, view, color),
    ...view.colors[color].components.filter(isWorthSeeing(view.colors[color])).map((one) => componentRow(colors, one)),
  ]);
  const facts = [
    ...runningFacts(colors, view),
    ...queueFacts(view),
    ...rollbackFact(view),
    ...changedEnvironmentFact(view),
    ...sides.flatMap((color) => view.colors[color].components.flatMap((one) => problemFact(colors, one))),
    ...(view.sha === null
      ? [['note', 'nothing was ever deployed: HAProxy answers 503; the first deploy goes to green']]
      : []),
    ...historyFacts(colors, view.history),
  ];
  return [
    `${bold(view.name)}  ${dim(view.hosts.join(', '))}`,
    ...(view.blocked ? [`  ${red(`blocked (${view.blocked.code})`)} ${cyan('→')} ${view.blocked.remedy}`] : []),
    ...columns(rows).map((line) => `  ${line}`),
    ...columns(facts.map(([name = '', ...rest]) => [dim(name), ...rest])).map((line) => `  ${line}`),
  ];
}

function describeSideBySide(colors: Colors, view: SideBySideView): string[] {
  const { bold, dim, red, yellow, cyan } = colors;
  const isDeployed = view.instances.some(({ state }) => state !== null);
  const rows = view.instances.map((one) => {
    const { name, instance, address, state, sha } = one;
    const held = sha === null ? dim('empty') : sha === view.sha ? shortSha(sha) : yellow(shortSha(sha));
    return [name, instance, ...(isDeployed ? [state === null ? '' : held] : []), dim(address), seenOf(colors, one)];
  });
  const facts = [
    ...runningFacts(colors, view),
    ...queueFacts(view),
    ...rollbackFact(view),
    ...view.instances.flatMap((one) => problemFact(colors, one)),
    ...(isDeployed && view.sha === null ? [['note', 'nothing was ever deployed']] : []),
    ...historyFacts(colors, view.history),
  ];
  return [
    `${bold(view.name)}  ${dim('every host')}`,
    ...(view.blocked ? [`  ${red(`blocked (${view.blocked.code})`)} ${cyan('→')} ${view.blocked.remedy}`] : []),
    ...columns(rows).map((line) => `  ${line}`),
    ...columns(facts.map(([name = '', ...rest]) => [dim(name), ...rest])).map((line) => `  ${line}`),
  ];
}

function seenOf({ red, yellow }: Colors, { state, health, restarts, environmentChanged }: InstanceView): string {
  const isBad = state === 'failed' || !(health?.startsWith('UP') ?? false);
  const seen = [...(state === null ? [] : [state]), health ?? 'not known to the edge'].join(' · ');
  const restarted = restarts === 0 ? '' : yellow(`  restarted ${restarts} ×`);
  const changed = environmentChanged ? yellow('  env changed since it started') : '';
  return `${isBad ? red(seen) : seen}${restarted}${changed}`;
}

type AnyView = EnvironmentView | SideBySideView;

const queueFacts = ({ queue }: AnyView): string[][] =>
  queue.map(({ id, sha }, index) => [
    'waits',
    `${id}${sha === null ? '' : ` (${shortSha(sha)})`}, ${index + 1} in the queue`,
  ]);

const historyFacts = ({ dim }: Colors, history: AnyView['history']): string[][] =>
  history
    .slice(0, shownReleases)
    .map(({ at, color, sha }, index) => [
      index === 0 ? 'history' : '',
      [shortSha(sha), ...(color === null ? [] : [color]), ` ${dim(formatClock(at))}`].join(' '),
    ]);

function colorRow({ green, bold, dim, yellow }: Colors, view: EnvironmentView, color: Color): string[] {
  const { sha, state } = view.colors[color];
  const isActive = color === view.active;
  const mark = isActive ? green('●') : dim('○');
  const role = isActive ? green('active') : state === 'standby' ? 'standby' : yellow('no standby');
  const since =
    isActive && view.since !== null ? dim(`since ${formatClock(view.since)} (${formatAge(view.since)})`) : '';
  const shown = isActive ? view.sha : sha;
  return [`${mark} ${isActive ? bold(color) : color}`, shown === null ? dim('empty') : shortSha(shown), role, since];
}

function componentRow(colors: Colors, component: ComponentView): string[] {
  const { red, yellow, dim } = colors;
  const { name, instance, address, state, health, restarts, environmentChanged } = component;
  const isBad = state === 'failed' || (health !== null && !health.startsWith('UP'));
  const seen = [state, ...(health === null ? [] : [health])].join(' · ');
  const restarted = restarts === 0 ? '' : yellow(`  restarted ${restarts} ×`);
  const changed = environmentChanged ? yellow('  env changed since it started') : '';
  return [`    ${name}`, instance, dim(address), `${isBad ? red(seen) : seen}${restarted}${changed}`];
}

/** An empty color needs no list of what is not there. */
const isWorthSeeing =
  ({ state }: ColorView) =>
  (component: ComponentView): boolean =>
    state !== 'empty' || component.state !== 'empty';

function runningFacts({ cyan, yellow }: Colors, { name, operation, waiting, until }: AnyView): string[][] {
  if (!operation) return [];
  const { id, sha, step } = operation;
  const doing =
    waiting === null
      ? (step ?? 'begins')
      : `${yellow(`waits: ${waiting}`)}${until === null ? '' : ` until ${formatClock(until)}`}`;
  const next = waiting === 'approval' ? `bascule approve ${name}` : `bascule follow ${id}`;
  return [['runs', `${id}${sha === null ? '' : ` (${shortSha(sha)})`} · ${doing} ${cyan('→')} ${next}`]];
}

/** Only of the active color: what else runs gets its environment when it is deployed. */
function changedEnvironmentFact({ name, active, sha, colors }: EnvironmentView): string[][] {
  const changed = colors[active].components.filter(({ environmentChanged }) => environmentChanged);
  if (changed.length === 0 || sha === null) return [];
  const components = changed.map((component) => component.name).join(', ');
  const what = `the env of ${components} changed since this release started`;
  return [['env', `${what} → bascule deploy ${name} ${sha} --again`]];
}

function problemFact({ red, cyan }: Colors, { problem }: Pick<ComponentView, 'problem'>): string[][] {
  if (!problem) return [];
  return [
    ['problem', red(problem.message)],
    ['', `${cyan('→')} ${problem.remedy}`],
  ];
}

function rollbackFact({ rollback }: AnyView): string[][] {
  if (!rollback) return [];
  return [['rollback', `to ${shortSha(rollback.to)}, ${rollback.fast ? 'fast' : 'full: it is deployed again'}`]];
}
