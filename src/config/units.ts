/** Durations and sizes as bascule.yaml and the commands' options write them. */

const millisecondsPer = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
const bytesPer = { kB: 1_000, MB: 1_000_000, GB: 1_000_000_000 } as const;

export const durationPattern = /^(?:0|[1-9][0-9]{0,9})(?:ms|s|m|h)$/;
export const sizePattern = /^[1-9][0-9]{0,6}(?:kB|MB|GB)$/;

/** HAProxy and Node's timers hold no more milliseconds (2^31 - 1, 24 days). */
const longestMs = 2_147_483_647;

/** Milliseconds of `500ms`, `2s`, `5m` or `1h`; null for any other text and for more than 24 days. */
export function parseDuration(text: string): number | null {
  if (!durationPattern.test(text)) return null;
  const ms = parse(text, millisecondsPer);
  return ms <= longestMs ? ms : null;
}

/** Bytes of `500MB` or `2GB` (decimal); null for any other text. */
export function parseSize(text: string): number | null {
  return sizePattern.test(text) ? parse(text, bytesPer) : null;
}

/** A text that parseDuration reads as these milliseconds, in the largest unit that fits. */
export const formatDuration = (ms: number): string => format(ms, millisecondsPer);

/** A text that parseSize reads as these bytes (whole kB), in the largest unit that fits. */
export const formatSize = (bytes: number): string => format(bytes, bytesPer);

/** A share of 0 to 1 as bascule.yaml writes it, such as `1%`. */
export const formatShare = (share: number): string => `${Number((share * 100).toFixed(3))}%`;

function parse(text: string, factors: Readonly<Record<string, number>>): number {
  const [, digits, unit = ''] = /^([0-9]+)(.*)$/.exec(text) ?? [];
  return Number(digits) * (factors[unit] ?? Number.NaN);
}

function format(amount: number, factors: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(factors).findLast(([, factor]) => amount >= factor && amount % factor === 0);
  if (!fitting) return `0${Object.keys(factors)[0]}`;
  return `${amount / fitting[1]}${fitting[0]}`;
}
