import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { initialConfiguration } from '../../src/config/initial.js';
import { refused, type Schema, schema } from '../rig/config-fields.js';

const example = (name: string) => readFile(resolve(import.meta.dirname, '../../examples', name), 'utf8');

test.each(['minimal.yaml', 'local.yaml', 'veza.yaml', 'lab.yaml'])(
  'the schema for editors accepts examples/%s',
  async (name) => {
    expect(refused(schema, parse(await example(name)), '')).toEqual([]);
  },
);

test('the schema for editors accepts what init writes', () => {
  const text = initialConfiguration({ driver: 'process', project: 'hello' });
  expect(refused(schema, parse(text), '')).toEqual([]);
});

test('the schema for editors refuses unknown keys, missing ones and wrong values', async () => {
  const configuration = parse(await example('minimal.yaml'));
  configuration.edge.http = 'localhost';
  configuration.edge.htttp = 1;
  configuration.edge.host = { driver: 'local', instance: 'edge' };
  configuration.topology = 'canary';
  delete configuration.components.web.health;
  expect(refused(schema, configuration, '')).toEqual([
    '.edge.http does not match',
    '.edge.htttp is unknown',
    '.edge.host fits none',
    '.components.web.health is missing',
    '.topology is another value',
  ]);
});

test('editors can explain every key', () => {
  expect(withoutDescription(schema, '')).toEqual([]);
});

function withoutDescription(part: Schema, path: string): string[] {
  const children = [
    ...Object.entries(part.properties ?? {}).map(([key, child]) => ({ path: `${path}.${key}`, child })),
    ...(part.anyOf ?? part.oneOf ?? []).map((child) => ({ path, child })),
    ...[part.items, part.additionalProperties].flatMap((child) => (typeof child === 'object' ? { path, child } : [])),
  ];
  return [
    ...Object.entries(part.properties ?? {})
      .filter(([, child]) => !child.description)
      .map(([key]) => `${path}.${key}`),
    ...children.flatMap(({ path: childPath, child }) => withoutDescription(child, childPath)),
  ];
}
