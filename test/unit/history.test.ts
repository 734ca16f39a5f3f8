import { describe, expect, it } from 'vitest';
import type { Color, HistoryLine } from '../../src/domain/edge-state.js';
import { formatHistory, goBackTo, parseHistory, pushRelease } from '../../src/domain/history.js';

const line = (color: Color, sha: string, at = '2026-01-01T00:00:00Z'): HistoryLine => ({ at, color, sha });
const [a, b, c] = ['aaaaaaa', 'bbbbbbb', 'ccccccc'] as const;
const now = '2026-02-02T00:00:00Z';

describe('the history file', () => {
  it('reads what it wrote, newest first', () => {
    const lines = [line('green', b, now), line('blue', a)];
    expect(formatHistory(lines)).toBe(`${now} green ${b}\n2026-01-01T00:00:00Z blue ${a}\n`);
    expect(parseHistory(formatHistory(lines))).toEqual(lines);
    expect(parseHistory('')).toEqual([]);
  });

  it.each(['yesterday blue aaaaaaa\n', `${now} red aaaaaaa\n`, `${now} blue HEAD\n`, `${now} blue\n`])(
    'says that %j is no history',
    (text) => expect(parseHistory(text)).toBeNull(),
  );
});

describe('a release that visitors are given', () => {
  it('comes on top', () => {
    expect(pushRelease([line('blue', a)], line('green', b, now))).toEqual([line('green', b, now), line('blue', a)]);
  });

  it('is not added a second time', () => {
    const lines = [line('green', b), line('blue', a)];
    expect(pushRelease(lines, line('green', b, now))).toBe(lines);
  });

  it('pushes out the sixth', () => {
    const shas = ['1111111', '2222222', '3333333', '4444444', '5555555', '6666666'];
    const lines = shas.reduce<readonly HistoryLine[]>((all, sha) => pushRelease(all, line('blue', sha)), []);
    expect(lines.map(({ sha }) => sha)).toEqual(shas.slice(1).reverse());
  });
});

describe('going back', () => {
  const lines = [line('blue', c), line('green', b), line('blue', a)];

  it.each([
    ['to the release below', { color: 'green' as const, sha: b }, false, [line('green', b, now), line('blue', a)]],
    ['further down', { color: 'blue' as const, sha: a }, false, [line('blue', a, now)]],
    ['to where it stands already', { color: 'blue' as const, sha: c }, false, lines],
    ['to nothing', { color: 'blue' as const, sha: null }, false, []],
    [
      'to the other color by a full rollback',
      { color: 'blue' as const, sha: b },
      true,
      [line('blue', b, now), line('blue', a)],
    ],
    [
      'to a release that was deployed once more, by a full rollback',
      { color: 'blue' as const, sha: b },
      true,
      [line('blue', b, now), line('blue', a)],
      [line('green', b), line('blue', b), line('blue', a)],
    ],
    [
      'to a release without a line, which then takes the place of the one that was left',
      { color: 'green' as const, sha: 'ddddddd' },
      false,
      [line('green', 'ddddddd', now), line('green', b), line('blue', a)],
    ],
    ['where there is no history', { color: 'green' as const, sha: b }, false, [line('green', b, now)], []],
  ])('%s', (_title, to, rewrite, expected, from: readonly HistoryLine[] = lines) => {
    expect(goBackTo(from, { at: now, ...to }, rewrite)).toEqual(expected);
  });
});
