import pc from 'picocolors';
import { describe, expect, test } from 'vitest';
import { fittedRows } from '../../src/cli/live-area.js';
import { describePlan } from '../../src/cli/rollback.js';
import { describeRollbackList, rollbackList } from '../../src/cli/rollback-list.js';
import { describeFooter, documentOf, plainText, type Sight } from '../../src/cli/status-watch.js';
import { compareVersions } from '../../src/cli/worker-version.js';
import type { ColorView, EnvironmentView, Status } from '../../src/domain/inspect.js';

const plain = pc.createColors(false);
const [a, b, c] = ['aaaaaaa', 'bbbbbbb', 'ccccccc'];

const colorView = (sha: string, health: string): ColorView => ({
  sha,
  state: 'running',
  components: [
    {
      name: 'api',
      instance: 'i',
      address: '127.0.0.1:1',
      state: 'running',
      health,
      restarts: 0,
      environmentChanged: null,
      problem: null,
    },
  ],
});

/** prod serves c on green; b runs on blue and is UP; a is gone. */
function view(more: Partial<EnvironmentView> = {}): EnvironmentView {
  return {
    name: 'prod',
    hosts: [],
    active: 'green',
    sha: c,
    since: null,
    blocked: null,
    waiting: null,
    until: null,
    rollback: { to: b, fast: true, until: null },
    rollbackRefused: null,
    colors: { blue: colorView(b, 'UP L7OK'), green: colorView(c, 'UP L7OK') },
    instances: [],
    operation: null,
    queue: [],
    history: [
      { at: '2026-01-01T03:00:00Z', color: 'green', sha: c },
      { at: '2026-01-01T02:00:00Z', color: 'blue', sha: b },
      { at: '2026-01-01T01:00:00Z', color: 'green', sha: a },
    ],
    ...more,
  };
}
const deploy = { id: 'demo/prod/deploy/7', kind: 'deploy', sha: a, step: null, since: null } as const;
const refused = 'the last deploy did not succeed';

describe('rollback --list', () => {
  test('says which release is next, what is fast, and what to type for each', () => {
    const { releases, ...rest } = rollbackList(view());
    expect(releases.map(({ sha, fast, isNext }) => [sha, fast, isNext])).toEqual([
      [b, true, true],
      [a, false, false],
    ]);
    expect(rest).toMatchObject({ stops: null, refused: null, remedy: null });
    const text = describeRollbackList(plain, 'prod', { releases, ...rest });
    expect(text).toMatch(/^prod serves ccccccc \(green\)\n← {2}bbbbbbb .*fast.*→ bascule rollback prod\n/);
    expect(text).toMatch(/\n {3}aaaaaaa .*full.*→ bascule rollback prod --to aaaaaaa$/);
  });

  test.each([
    ['after a failed deploy', { rollbackRefused: refused }, refused, `bascule rollback prod --to ${b}`],
    ['while the edge drifted', { blocked: { code: 'drift', remedy: 'bascule apply --repair' } }, 'drift', '--repair'],
    ['with nothing below', { history: [{ at: '', color: 'green', sha: c }] as const }, 'no release below', 'bascule'],
  ])('%s names no next release, but why and what to type', (_, more, why, remedy) => {
    const list = rollbackList(view(more));
    expect(list.releases.some(({ isNext }) => isNext)).toBe(false);
    expect(list.refused).toContain(why);
    expect(list.remedy).toContain(remedy);
    expect(describeRollbackList(plain, 'prod', list)).toContain(`→ ${list.remedy}`);
  });

  test('says that a deploy that runs would be stopped', () => {
    const list = rollbackList(view({ operation: deploy }));
    expect(list).toMatchObject({ stops: deploy.id, refused: null, releases: [{ isNext: false }, { isNext: false }] });
    expect(describeRollbackList(plain, 'prod', list)).toContain(`${deploy.id} runs`);
  });

  test('leaves out what --to does not reach', () => {
    const history = [c, b, c, b, a].map((sha) => ({ at: '', color: 'blue', sha }) as const);
    expect(rollbackList(view({ history })).releases.map(({ sha }) => sha)).toEqual([b, a]);
  });
});

describe('the question before a rollback', () => {
  test.each([
    [undefined, false, `prod: ${c} (green) → ${b} (blue), fast`],
    [undefined, true, `${b} (blue), full`],
    ['bbb', false, `${b} (blue), fast`],
    [a, false, `${a} (green), full`],
    ['ddddddd', false, 'ddddddd, full'],
  ])('to %s, full %s: %s', (to, isFull, text) => {
    expect(describePlan(view(), to, isFull)).toContain(text);
  });

  test('is not asked where it would change nothing or is refused anyway', () => {
    expect(describePlan(view(), c, false)).toBeNull();
    expect(describePlan(view({ rollback: null }), undefined, false)).toBeNull();
  });

  test('names the deploy that it stops', () => {
    expect(describePlan(view({ operation: deploy }), undefined, false)).toBe(
      `prod: stops ${deploy.id} and takes it back`,
    );
  });
});

describe('status --watch', () => {
  const sight: Sight = { status: { project: 'demo' } as Status, readAt: new Date(2026, 0, 1, 14, 0, 5), trouble: null };
  const unread: Sight = {
    ...sight,
    trouble: {
      since: new Date(2026, 0, 1, 14, 0, 7),
      document: {
        schemaVersion: 1,
        operation: null,
        outcome: 'unavailable',
        code: 'no-worker',
        message: 'no worker',
        remedy: 'Start one.',
      },
    },
  };
  const now = new Date(2026, 0, 1, 14, 3, 8);
  const describeStatus = () => 'all well';

  test('says below the status when it was read, or since when it cannot be', () => {
    expect(describeFooter(plain, sight, now).join('\n')).toBe('\nread at 14:00:05 · Ctrl-C ends this');
    expect(describeFooter(plain, unread, now)).toEqual([
      '',
      'cannot be read since 14:00:07 (3 min ago), tried again; above is what was read at 14:00:05',
      'no worker',
      '→ Start one.',
    ]);
  });

  test('is a line of JSON with a code while it cannot be read', () => {
    expect(documentOf(sight)).toBe(sight.status);
    expect(documentOf(unread)).toMatchObject({ code: 'no-worker', since: unread.trouble?.since.toISOString() });
  });

  test('has the clock above each but the first where it is no terminal', () => {
    expect(plainText(sight, true, describeStatus)).toBe('all well\n');
    expect(plainText(sight, false, describeStatus)).toMatch(/^\n.*14:00:05\nall well\n$/);
    expect(plainText(unread, false, describeStatus)).toMatch(
      /^\n.*14:00:07 {2}cannot be read: no worker\n→ Start one.\n$/,
    );
  });

  test('fits a screen that is too small, without its footer being lost', () => {
    expect(fittedRows(['1', '2', '3'], ['end'], 5)).toEqual(['1', '2', '3', 'end']);
    expect(fittedRows(['1', '2', '3', '4'], ['end'], 5)).toEqual(['1', '2', '… 2 more lines do not fit', 'end']);
    expect(fittedRows(['1', '2'], ['a', 'b'], 1)).toEqual(['… 2 more lines do not fit', 'a', 'b']);
  });
});

describe('a worker of another version', () => {
  test.each([
    ['0.9.0', '0.10.0', 'Install 0.10.0 where the worker runs too'],
    ['1.0.0', '0.10.0', 'Install 1.0.0 here too'],
    ['0.1.0-beta.2', '0.1.0', 'here too'],
  ])('%s, for a command of version %s: %s', (worker, own, remedy) => {
    const other = compareVersions(worker, own);
    expect(other?.message).toContain(`the worker is version ${worker}, this command is version ${own}`);
    expect(other?.remedy).toContain(remedy);
  });

  test('is none where they are the same', () => {
    expect(compareVersions('0.1.0', '0.1.0')).toBeNull();
  });
});
