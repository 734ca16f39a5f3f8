import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { initialConfiguration } from '../../src/config/initial.js';
import { configurationJsonSchema } from '../../src/config/json-schema.js';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly pattern?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
}

const schema = configurationJsonSchema() as Schema;
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

/** As much of JSON Schema as the schema uses. */
function refused(part: Schema, value: unknown, path: string): string[] {
  const branches = part.anyOf ?? part.oneOf;
  if (branches)
    return branches.some((branch) => refused(branch, value, path).length === 0) ? [] : [`${path} fits none`];
  if (part.enum) return part.enum.includes(value) ? [] : [`${path} is another value`];
  if (part.const !== undefined) return value === part.const ? [] : [`${path} is another value`];
  if (part.type === 'array') return refusedItems(part, value, path);
  if (part.type === 'object') return refusedProperties(part, value, path);
  const type = part.type === 'integer' ? 'number' : part.type;
  const isMatching = typeof value === type && (!part.pattern || new RegExp(part.pattern, 'u').test(String(value)));
  return isMatching ? [] : [`${path} does not match`];
}

function refusedItems(part: Schema, value: unknown, path: string): string[] {
  if (!Array.isArray(value)) return [`${path} is no list`];
  return value.flatMap((item, index) =>
    refused(part.prefixItems?.[index] ?? part.items ?? {}, item, `${path}[${index}]`),
  );
}

function refusedProperties(part: Schema, value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [`${path} is no mapping`];
  const others = typeof part.additionalProperties === 'object' ? part.additionalProperties : undefined;
  return [
    ...Object.entries(value).flatMap(([key, item]) => {
      const known = part.properties?.[key] ?? others;
      return known ? refused(known, item, `${path}.${key}`) : [`${path}.${key} is unknown`];
    }),
    ...(part.required ?? []).filter((key) => !Object.hasOwn(value, key)).map((key) => `${path}.${key} is missing`),
  ];
}

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
