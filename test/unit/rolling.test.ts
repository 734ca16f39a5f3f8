import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../src/config/load.js';
import {
  deployedEnvironments,
  earlierRelease,
  formatReleases,
  inOrder,
  parseReleases,
  type ReleaseLine,
  releasesAfter,
} from '../../src/domain/rolling.js';

const line = (sha: string, at = '2026-01-01T00:00:00Z'): ReleaseLine => ({ at, sha });
const [a, b, c] = ['aaaaaaa', 'bbbbbbb', 'ccccccc'] as const;
const now = '2026-02-02T00:00:00Z';

describe('the releases of instances side by side', () => {
  it('are read as they were written, newest first, with who wrote them', () => {
    const text = formatReleases('lab/default/deploy/2@run', [line(b, now), line(a)]);
    expect(text).toBe(`# bascule releases owner=lab/default/deploy/2@run\n${now} ${b}\n2026-01-01T00:00:00Z ${a}\n`);
    expect(parseReleases(text)).toEqual({ owner: 'lab/default/deploy/2@run', lines: [line(b, now), line(a)] });
    expect(parseReleases('')).toEqual({ owner: null, lines: [] });
  });

  it.each([
    `${now} ${a}\n`,
    `# bascule releases owner=x\nyesterday ${a}\n`,
    `# bascule releases owner=x\n${now} HEAD\n`,
  ])('are none in %j', (text) => expect(parseReleases(text)).toBeNull());

  it('begin with the one that visitors are given now, once', () => {
    expect(releasesAfter([line(a)], line(b, now), false)).toEqual([line(b, now), line(a)]);
    expect(releasesAfter([line(b), line(a)], line(b, now), false)).toEqual([line(b), line(a)]);
  });

  it('are five at most', () => {
    const lines = ['1111111', '2222222', '3333333', '4444444', '5555555'].map((sha) => line(sha));
    expect(releasesAfter(lines, line(a), false).map(({ sha }) => sha)).toEqual([
      ...[a, '1111111', '2222222', '3333333', '4444444'],
    ]);
  });

  it('lose on the way back those that were taken back', () => {
    expect(releasesAfter([line(c), line(b), line(a)], line(a, now), true)).toEqual([line(a)]);
    expect(releasesAfter([line(c), line(b)], line(a, now), true)).toEqual([line(a, now), line(b)]);
  });

  it('are gone back to one by one, or to the one that is named', () => {
    const lines = [line(c), line(b), line(a)];
    expect(earlierRelease(lines, null)).toBe(b);
    expect(earlierRelease(lines, 'aaaa')).toBe(a);
    expect(earlierRelease(lines, 'cccc')).toBe(c);
    expect(earlierRelease(lines, 'ddddddd')).toBe('ddddddd');
    expect(earlierRelease([line(a)], null)).toBeNull();
    expect(earlierRelease([], 'ddddddd')).toBeNull();
  });
});

describe('instances that are replaced one after the other', () => {
  const one = (name: string, instance: string, isUp: boolean) => ({ instance: { name, instance }, isUp });

  it('come component by component, and of each those that are not UP first', () => {
    const all = [
      one('api', 'api-1', true),
      one('web', 'web-1', true),
      one('api', 'api-2', false),
      one('api', 'api-3', true),
    ];
    expect(inOrder(all).map(({ instance }) => instance.instance)).toEqual(['api-2', 'api-1', 'api-3', 'web-1']);
  });
});

describe('instances side by side', () => {
  const yaml = (run: string) => `version: 1
project: lab
edge: { http: 127.0.0.1:8088 }
topology: multi-instance
components:
  api: { instances: [api-1], health: { path: / }${run} }
${run && 'artifacts: { url: "file:./{sha}.tar" }'}
`;

  it('have an environment to deploy to where Bascule runs a component', () => {
    const environmentsOf = (run: string) => deployedEnvironments(parseConfiguration(yaml(run), '/srv/bascule.yaml'));
    expect(environmentsOf(', run: [node]')).toEqual(['default']);
    expect(environmentsOf('')).toEqual([]);
  });
});
