import { BasculeError } from '../errors.js';
import { type IncusInstance, placeOf } from './container.js';
import type { LogPart } from './log.js';
import { migrationName, serviceName } from './unit.js';

/** How much is read at most for one answer. */
const readMaxBytes = 1_000_000;
const lookMs = 30_000;

/**
 * An entry has the time at which journald took it. So what was sent before is of before `until` once all that was sent is
 * taken, and there once what was taken is written; what is of later comes with the next answer.
 */
const reader = `
journalctl --sync
until=$(date +%s%6N)
journalctl --sync
seconds() { printf '@%s.%s' "\${1%??????}" "\${1#"\${1%??????}"}"; }
since=$1 lines=$2 most=$3
shift 3
# With --since it would take the first lines.
case $since in
  '') set -- --lines="$lines" "$@" ;;
  *) set -- --since "$(seconds "$since")" "$@" ;;
esac
journalctl --quiet --no-pager --output=cat --until "$(seconds "$until")" "$@" | tail -c "$most" | tail -n "\${lines:-+1}"
printf '%s' "$until"`;

/**
 * Lines of a service and its migration out of the instance's journal: the last `tail`, or those of the last `sinceMs`, or
 * those since a time (ms since the epoch); or those behind the offset `after` of an earlier answer, which is a time too.
 */
export async function readJournal(
  instance: IncusInstance,
  { tail, sinceMs, from = 0, after }: { tail?: number; sinceMs?: number; from?: number; after?: number },
): Promise<LogPart> {
  const { component, incus, host } = instance;
  const named = { project: incus.project, component };
  const units = [serviceName(named), migrationName(named)].map((unit) => `--unit=${unit}`);
  const since = after === undefined ? (sinceMs === undefined ? from : Date.now() - sinceMs) * 1_000 : after + 1;
  const isAnyTime = since === 0 && tail !== undefined;
  const args = [isAnyTime ? '' : String(Math.max(since, 1_000_000)), String(tail ?? ''), String(readMaxBytes)];
  const { exitCode, stdout, stderr } = await host.run(['sh', '-c', reader, 'journal', ...args, ...units], {
    timeoutMs: lookMs,
  });
  if (exitCode !== 0) {
    throw new BasculeError('incus-refused', { ...placeOf(instance), what: 'to read its journal', reason: stderr });
  }
  const lines = stdout.split('\n');
  const offset = Number(lines.pop());
  // Where reading began inside a line, its rest is no line.
  if (stdout.length > readMaxBytes) lines.shift();
  return { lines, offset };
}
