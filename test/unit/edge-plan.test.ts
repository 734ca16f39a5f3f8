import { describe, expect, it } from 'vitest';
import type { ColorChange, EdgeChange, EdgeRecord } from '../../src/domain/edge-change.js';
import { planChange } from '../../src/domain/edge-plan.js';
import type { EnvironmentState, HistoryLine } from '../../src/domain/edge-state.js';

const [a, b, c] = ['aaaaaaa', 'bbbbbbb', 'ccccccc'] as const;
const then = '2026-01-01T00:00:00Z';
const now = '2026-02-02T00:00:00Z';
const staging: EnvironmentState = { name: 'staging', color: 'green', sha: c, standby: null };
const prod: EnvironmentState = { name: 'prod', color: 'green', sha: b, standby: a };
const stagingLines: readonly HistoryLine[] = [{ at: then, color: 'green', sha: c }];
const prodLines: readonly HistoryLine[] = [
  { at: then, color: 'green', sha: b },
  { at: then, color: 'blue', sha: a },
];
const record: EdgeRecord = {
  claim: '3 run-1/do',
  installed: { generation: 3, digest: 'd', version: '1' },
  running: { pid: 1, generation: 3, digest: 'd' },
  states: [staging, prod],
  histories: { staging: stagingLines, prod: prodLines },
  applied: 'f',
  drift: [],
  needsOperator: null,
  pools: {},
};
const common = { id: 'change', operation: 'operation' };
const color = (change: Partial<ColorChange>): EdgeChange => ({
  ...common,
  kind: 'color',
  environment: 'prod',
  from: 'green',
  to: 'blue',
  sha: c,
  history: 'push',
  ...change,
});

const plan = (change: EdgeChange, environments = ['staging', 'prod'], from = record) =>
  planChange(change, from, environments, now);

describe('a color change', () => {
  it('makes the release that it leaves the standby, and touches no other environment', () => {
    const { states, histories } = plan(color({}));
    expect(states).toEqual([staging, { name: 'prod', color: 'blue', sha: c, standby: b }]);
    expect(histories).toEqual({ staging: stagingLines, prod: [{ at: now, color: 'blue', sha: c }, ...prodLines] });
  });

  it('leaves no standby when it goes back: what was taken back gets no visitor', () => {
    const { states, histories } = plan(color({ sha: a, history: 'back' }));
    expect(states[1]).toEqual({ name: 'prod', color: 'blue', sha: a, standby: null });
    expect(histories.prod).toEqual([{ at: now, color: 'blue', sha: a }]);
  });

  it('rewrites the color of the line on a full rollback', () => {
    const { histories } = plan(color({ from: 'blue', to: 'green', sha: a, history: 'back', rewrite: true }));
    expect(histories.prod).toEqual([{ at: now, color: 'green', sha: a }]);
  });

  it('goes back to a color that never had a release', () => {
    const first = { ...record, states: [{ ...prod, standby: null }], histories: { prod: prodLines.slice(0, 1) } };
    const { states, histories } = plan(color({ sha: null, history: 'back' }), ['prod'], first);
    expect(states).toEqual([{ name: 'prod', color: 'blue', sha: null, standby: null }]);
    expect(histories).toEqual({ prod: [] });
  });

  it('gives the first release no standby', () => {
    const empty = { ...record, states: [], histories: {} };
    const { states, histories } = plan(color({ from: 'blue', to: 'green', sha: b }), ['prod'], empty);
    expect(states).toEqual([{ name: 'prod', color: 'green', sha: b, standby: null }]);
    expect(histories).toEqual({ prod: [{ at: now, color: 'green', sha: b }] });
  });

  it('to the release that is active already changes nothing', () => {
    expect(plan(color({ from: 'green', to: 'green', sha: b }))).toEqual({
      states: record.states,
      histories: record.histories,
    });
  });
});

describe('a stand-down', () => {
  it('takes the standby away, and nothing else', () => {
    const { states, histories } = plan({ ...common, kind: 'stand-down', environment: 'prod' });
    expect(states).toEqual([staging, { ...prod, standby: null }]);
    expect(histories).toEqual(record.histories);
  });
});

describe('an apply', () => {
  const apply: EdgeChange = { ...common, kind: 'apply' };

  it('keeps colors and histories', () => {
    expect(plan(apply)).toEqual({ states: record.states, histories: record.histories });
  });

  it('adds an environment as never deployed and drops one that is gone, in the order of the configuration', () => {
    const { states, histories } = plan(apply, ['preview', 'prod']);
    expect(states).toEqual([{ name: 'preview', color: 'blue', sha: null, standby: null }, prod]);
    expect(histories).toEqual({ preview: [], prod: prodLines });
  });

  it.each([
    ['lacks', [], [{ at: now, color: 'green', sha: b }]],
    ['is ahead of', [{ at: then, color: 'blue', sha: c }, ...prodLines], prodLines],
  ] as const)('mends a history that %s what is served', (_how, lines, expected) => {
    const amiss = { ...record, histories: { ...record.histories, prod: lines } };
    expect(plan(apply, ['prod'], amiss).histories).toEqual({ prod: expected });
  });
});
