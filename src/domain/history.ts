import type { Color, HistoryLine } from './edge-state.js';

/** The most lines that an environment's history keeps. */
export const historyLength = 5;

const linePattern = /^(\S+) (blue|green) ([0-9a-f]{7,40})$/;

/** Lines of `<state>/active-color-<env>.history`, newest first; null where a line is none. */
export function parseHistory(text: string): readonly HistoryLine[] | null {
  const lines: HistoryLine[] = [];
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const match = linePattern.exec(line);
    if (!match?.[1] || !match[2] || !match[3] || Number.isNaN(Date.parse(match[1]))) return null;
    lines.push({ at: match[1], color: match[2] as Color, sha: match[3] });
  }
  return lines;
}

/** Content of the file that `parseHistory` reads. */
export function formatHistory(lines: readonly HistoryLine[]): string {
  return lines.map((line) => `${line.at} ${line.color} ${line.sha}\n`).join('');
}

/** Adds the release that visitors are given now; one that stands on top already is not added again. */
export function pushRelease(lines: readonly HistoryLine[], release: HistoryLine): readonly HistoryLine[] {
  const top = lines[0];
  if (top && top.color === release.color && top.sha === release.sha) return lines;
  return [release, ...lines].slice(0, historyLength);
}

/**
 * Goes back to an earlier release: the lines above it are dropped, because those releases were taken back.
 * With `rewrite` the line is found by its sha alone, below the first one, which is left, and gets the color: the same
 * release may have been deployed again. A sha of null leaves nothing.
 * A release without a line takes the place of the first one, so that the first line is always the active release. Its
 * time is that of going back: from then on visitors have it.
 */
export function goBackTo(
  lines: readonly HistoryLine[],
  release: { readonly at: string; readonly color: Color; readonly sha: string | null },
  rewrite: boolean,
): readonly HistoryLine[] {
  const { at, color, sha } = release;
  if (sha === null) return [];
  const index = lines.findIndex((line, place) => line.sha === sha && (rewrite ? place > 0 : line.color === color));
  const found = lines[index];
  if (!found) return [{ at, color, sha }, ...lines.slice(1)];
  const isThere = index === 0 && found.color === color;
  return [isThere ? found : { at, color, sha }, ...lines.slice(index + 1)];
}
