import { describe, expect, test } from 'vitest';
import { goesThroughLink, leadsOutside } from '../../src/instances/archive-links.js';

const links = (targets: Record<string, string>) => new Map(Object.entries(targets));

describe('a link of an archive', () => {
  test.each<[Record<string, string>, string]>([
    [{ current: 'releases/1' }, 'current'],
    [{ 'bin/run': '../lib/run.js' }, 'bin/run'],
    [{ 'a/b/top': '../..' }, 'a/b/top'],
    [{ 'node_modules/.bin/tool': '.././tool//cli.js' }, 'node_modules/.bin/tool'],
    [{ one: 'two', two: 'three/x', three: '.' }, 'one'],
  ])('that stays inside is kept: %j', (targets, link) => {
    expect(leadsOutside(links(targets), link)).toBe(false);
  });

  test.each<[Record<string, string>, string]>([
    [{ up: '..' }, 'up'],
    [{ root: '/' }, 'root'],
    [{ 'a/b': '../../x' }, 'a/b'],
    [{ 'a/b/out': 'up/../x', 'a/b/up': '../..' }, 'a/b/out'],
    [{ here: 'there/x', there: '/etc' }, 'here'],
    [{ one: 'two', two: 'one' }, 'one'],
    [{ self: 'self' }, 'self'],
  ])('that leads outside, by whatever way, is seen: %j', (targets, link) => {
    expect(leadsOutside(links(targets), link)).toBe(true);
  });
});

test('a path through a link is seen however it is written', () => {
  const known = links({ 'a/link': 'x' });
  expect(['a/link', './a//link/', 'a/link/file', 'a/./link/b/c'].map((path) => goesThroughLink(known, path))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(['a', 'a/other', 'link', 'a/link2'].some((path) => goesThroughLink(known, path))).toBe(false);
});
