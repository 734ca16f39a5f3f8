import type { Color } from '../domain/edge-state.js';
import { type EnvironmentView, isFastRollback, type SideBySideView } from '../domain/inspect.js';
import type { Release } from '../domain/operation.js';
import { BasculeError } from '../errors.js';
import { formatAge, formatClock, formatRelease } from './format.js';
import { environmentOf } from './history.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

/** What `rollback --list` shows; output-schema.ts describes it to others. */
export interface RollbackList {
  readonly active: Release;
  readonly releases: readonly Choice[];
  /** The deploy that runs: a rollback without --to stops it and takes it back. */
  readonly stops: string | null;
  /** Why a rollback without --to is refused now, and what to type; null where it is not. */
  readonly refused: string | null;
  readonly remedy: string | null;
}

interface Choice {
  readonly at: string;
  readonly color: Color | null;
  readonly sha: string;
  readonly fast: boolean;
  readonly isNext: boolean;
}

/** Shows the releases that an environment could go back to, and how; changes nothing. */
export async function listReleases(invocation: Invocation, environment: string): Promise<void> {
  const project = await invocation.project();
  const status = await invocation.withClient((client) => look(client, project, { what: 'status' }));
  const view = environmentOf(status, environment);
  const choices = rollbackList(view);
  invocation.output.answer(
    { schemaVersion: 1, project, environment, ...choices },
    describeRollbackList(invocation.output.out, environment, choices),
  );
}

/** The releases below the active one, newest first, and what a rollback that names none does. */
export function rollbackList(view: EnvironmentView | SideBySideView): RollbackList {
  const { active, sha: activeSha, operation } = view;
  const history: readonly Pick<Choice, 'at' | 'color' | 'sha'>[] = view.history;
  const stops = operation?.kind === 'deploy' ? operation.id : null;
  const refusal = stops === null ? refusalOf(view) : null;
  const below = history.slice(1);
  // What --to cannot name, another line with the same sha being nearer, is only reached as the next one.
  const isReachable = ({ sha }: { readonly sha: string }, index: number): boolean =>
    index === 0 || (sha !== activeSha && below.findIndex((one) => one.sha === sha) === index);
  const releases = below.filter(isReachable).map(({ at, color, sha }, index) => ({
    at,
    color,
    sha,
    fast: color !== null && view.colors !== null && isFastRollback(view.active, view.colors, { color, sha }),
    isNext: index === 0 && stops === null && refusal === null,
  }));
  const { refused = null, remedy = null } = refusal ?? {};
  return { active: { color: active, sha: activeSha }, releases, stops, refused, remedy };
}

function refusalOf({ name, sha, blocked, rollbackRefused, history }: EnvironmentView | SideBySideView) {
  const next = history[1]?.sha;
  if (blocked) return { refused: `every change of the edge is refused (${blocked.code})`, remedy: blocked.remedy };
  if (next === undefined) {
    const { message, remedy } = new BasculeError('nothing-to-roll-back-to', { environment: name, active: sha });
    return { refused: message, remedy };
  }
  return rollbackRefused ? { refused: rollbackRefused, remedy: `bascule rollback ${name} --to ${next}` } : null;
}

export function describeRollbackList(
  { green, dim, cyan, yellow }: Colors,
  environment: string,
  { active, releases, stops, refused, remedy }: RollbackList,
): string {
  const head =
    active.sha === null
      ? `Nothing was ever deployed to ${environment}.`
      : `${environment} serves ${formatRelease(active)}`;
  const rows = releases.map(({ at, color, sha, fast, isNext }) => [
    isNext ? green('←') : ' ',
    sha,
    color ?? '',
    formatClock(at),
    dim(formatAge(at)),
    fast ? 'fast: a switch' : 'full: deployed again',
    `${cyan('→')} bascule rollback ${environment}${isNext ? '' : ` --to ${sha}`}`,
  ]);
  return [
    head,
    ...columns(rows),
    ...(stops === null ? [] : [yellow(`${stops} runs: a rollback without --to stops it and takes it back`)]),
    ...(refused === null ? [] : [yellow(`a rollback without --to is refused: ${refused}`), `${cyan('→')} ${remedy}`]),
  ].join('\n');
}
