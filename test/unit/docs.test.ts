import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configurationJsonSchema } from '../../src/config/json-schema.js';

const repository = resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(resolve(repository, file), 'utf8');

describe('docs/seed-parity.md', () => {
  const rows = read('docs/seed-parity.md')
    .split('\n')
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .filter(([, number = '']) => /^[0-9]+$/.test(number))
    .map(([, number = '', there = '', here = '', shownBy = '']) => ({ number, there, here, shownBy }));

  test('counts its rows from 1 on, and leaves none without an answer', () => {
    expect(rows.map(({ number }) => Number(number))).toEqual(rows.map((_, index) => index + 1));
    expect(rows.length).toBeGreaterThan(70);
    for (const { number, there, here } of rows) expect(there && here, `row ${number}`).not.toBe('');
  });

  test('names a test for each row, unless it says that no line of haproxy.cfg depends on it', () => {
    const without = rows.filter(({ shownBy }) => testsIn(shownBy).length === 0);
    const unexplained = without.filter(
      ({ here, shownBy }) => shownBy !== 'none needed' || !/not part of the edge's configuration/i.test(here),
    );
    expect(unexplained).toEqual([]);
  });

  test('names only tests that there are', () => {
    const named = rows.flatMap(({ number, shownBy }) => testsIn(shownBy).map((each) => ({ number, ...each })));
    const missing = named.filter(
      ({ file, title }) => !existsSync(resolve(repository, file)) || !titlesOf(file).has(title),
    );
    expect(missing).toEqual([]);
  });
});

describe('docs/configuration.md', () => {
  const rows = new Map(
    read('docs/configuration.md')
      .split('\n')
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .filter(([, key = '']) => /^`[^`]+`$/.test(key))
      .map(([, key = '', ...cells]) => [key.slice(1, -1), cells]),
  );
  const keys = keysOf(configurationJsonSchema() as Schema, '', '');

  test('has every key of bascule.yaml, and no other', () => {
    expect([...rows.keys()].toSorted()).toEqual([...keys.keys()].toSorted());
  });

  test('says what each does, by an example, and every default as the schema says it', () => {
    for (const [key, [what, standard = '', example]] of rows) {
      expect(what && example, key).toBeTruthy();
      const [, told] = /Default: (\S+)$/.exec(keys.get(key) ?? '') ?? [];
      if (told && !told.includes('<') && told !== 'none') expect(standard, key).toBe(`\`${told}\``);
    }
  });
});

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

/** How the docs call a name that is a key, by the mapping that it stands in. */
const names: Readonly<Record<string, string>> = {
  environments: '<env>',
  components: '<component>',
  external: '<site>',
  errors: '<status>',
  backend: '<component>',
  env: '<VARIABLE>',
};

/** Every key with its description: `components.<component>.routes[].prefix`. */
function keysOf(schema: Schema, path: string, last: string): ReadonlyMap<string, string> {
  const { properties = {}, additionalProperties, items } = schema;
  const own = [
    ...Object.entries(properties).map(([key, value]) => ({ path: path ? `${path}.${key}` : key, key, value })),
    ...(typeof additionalProperties === 'object'
      ? [{ path: `${path}.${names[last]}`, key: '', value: additionalProperties }]
      : []),
  ];
  return new Map([
    ...[...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].flatMap((each) => [...keysOf(each, path, last)]),
    ...(items ? keysOf(items, `${path}[]`, last) : []),
    ...own.flatMap((each): [string, string][] => [
      [each.path, each.value.description ?? ''],
      ...keysOf(each.value, each.path, each.key),
    ]),
  ]);
}

/** Each `` `file` “title” ``; a title that follows a title is of the same file. */
function testsIn(cell: string): { file: string; title: string }[] {
  let file = '';
  return [...cell.matchAll(/`([^`]+)`|“([^”]+)”/g)].flatMap(([, path, title]) => {
    file = path ?? file;
    return title === undefined ? [] : [{ file, title }];
  });
}

/** What stands in quotes: titles of `test.each` are there as they are written, with their placeholders. */
function titlesOf(file: string): ReadonlySet<string> {
  const text = read(file);
  return new Set([...text.matchAll(/'([^'\n]*)'|"([^"\n]*)"/g)].map(([, single, double]) => single ?? double ?? ''));
}
