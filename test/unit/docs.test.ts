import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Schema, schema } from '../rig/config-fields.js';

const repository = resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(resolve(repository, file), 'utf8');

describe('docs/configuration.md', () => {
  const rows = new Map(
    read('docs/configuration.md')
      .split('\n')
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .filter(([, key = '']) => /^`[^`]+`$/.test(key))
      .map(([, key = '', ...cells]) => [key.slice(1, -1), cells]),
  );
  const keys = keysOf(schema, '', '');

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
function keysOf(part: Schema, path: string, last: string): ReadonlyMap<string, string> {
  const { properties = {}, additionalProperties, items } = part;
  const own = [
    ...Object.entries(properties).map(([key, value]) => ({ path: path ? `${path}.${key}` : key, key, value })),
    ...(typeof additionalProperties === 'object'
      ? [{ path: `${path}.${names[last]}`, key: '', value: additionalProperties }]
      : []),
  ];
  return new Map([
    ...[...(part.anyOf ?? []), ...(part.oneOf ?? [])].flatMap((each) => [...keysOf(each, path, last)]),
    ...(items ? keysOf(items, `${path}[]`, last) : []),
    ...own.flatMap((each): [string, string][] => [
      [each.path, each.value.description ?? ''],
      ...keysOf(each.value, each.path, each.key),
    ]),
  ]);
}
