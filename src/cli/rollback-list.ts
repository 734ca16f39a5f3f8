import type { Color } from '../domain/edge-state.js';
import { type EnvironmentView, isFastRollback } from '../domain/inspect.js';
import { formatAge, formatClock, formatRelease } from './format.js';
import { environmentOf } from './history.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

interface Choice {
  readonly at: string;
  readonly color: Color;
  readonly sha: string;
  readonly fast: boolean;
  readonly isNext: boolean;
}

/** Shows the releases that an environment could go back to, and how; changes nothing. */
export async function listReleases(invocation: Invocation, environment: string): Promise<void> {
  const project = await invocation.project();
  const status = await invocation.withClient((client) => look(client, project, { what: 'status' }));
  const view = environmentOf(status, environment);
  const releases = choicesOf(view);
  const active = { color: view.active, sha: view.sha };
  invocation.output.answer(
    { schemaVersion: 1, project, environment, active, releases, refused: view.rollbackRefused },
    describeChoices(invocation.output.out, view, releases),
  );
}

/** The releases below the active one, newest first. */
function choicesOf({ history, active, colors, rollback }: EnvironmentView): Choice[] {
  return history.slice(1).map(({ at, color, sha }, index) => ({
    at,
    color,
    sha,
    fast: isFastRollback(active, colors, { color, sha }),
    isNext: rollback !== null && index === 0,
  }));
}

function describeChoices(
  { green, dim, cyan, yellow }: Colors,
  view: EnvironmentView,
  releases: readonly Choice[],
): string {
  const { name, active, sha, rollbackRefused } = view;
  const head =
    sha === null ? `Nothing was ever deployed to ${name}.` : `${name} serves ${formatRelease({ sha, color: active })}`;
  if (releases.length === 0) return sha === null ? head : `${head}, and there is no release below it`;
  const rows = releases.map((one) => [
    one.isNext ? green('←') : ' ',
    one.sha,
    one.color,
    formatClock(one.at),
    dim(formatAge(one.at)),
    one.fast ? 'fast' : 'full: it is deployed again',
    `${cyan('→')} bascule rollback ${name}${one.isNext ? '' : ` --to ${one.sha}`}`,
  ]);
  return [head, ...columns(rows), ...(rollbackRefused ? [yellow(rollbackRefused)] : [])].join('\n');
}
