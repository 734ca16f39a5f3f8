import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseConfiguration } from '../../src/config/load.js';
import { BasculeError } from '../../src/errors.js';
import { additions, configurations, type Field, fieldsOf, formatted, withFields } from '../rig/config-fields.js';

type Change = (value: string) => string;

/** Each makes a valid value one that is not. */
const changes: readonly (readonly [string, Change])[] = [
  ...additions.flatMap((addition): [string, Change][] => [
    [`${JSON.stringify(addition)} after a valid value`, (value) => `${value}${addition}`],
    [`${JSON.stringify(addition)} before a valid value`, (value) => `${addition}${value}`],
  ]),
  ['nothing at all', () => ''],
  ['an option that names a file of patterns', () => '-f /etc/passwd'],
];

/** Fields that other configurations before this one hold too are shown there. */
const known = new Set<string>();
const cases = Object.entries(configurations).map(([name, configuration]) => {
  const fields = fieldsOf(configuration).filter(({ path }) => !known.has(path.join('.')));
  for (const { path } of fields) known.add(path.join('.'));
  return { name, configuration, fields };
});

describe.each(cases)('a configuration ($name)', ({ configuration, fields }) => {
  const names = fields.filter(({ isName }) => isName);
  /** By which the schema chooses what else there may be. */
  const choosing = fields.filter(({ path }) => ['driver', 'topology'].includes(String(path.at(-1))));
  const values = fields.filter((field) => !names.includes(field) && !choosing.includes(field));

  test('has no error before it is changed', () => {
    expect(problemsOf(configuration)).toEqual([]);
  });

  test.each(changes)('refuses %s in every field that reaches haproxy.cfg or a shell', (_, change) => {
    expect(refusedPaths(values, change).sort()).toEqual(values.map(({ path }) => formatted(path)).sort());
    for (const field of choosing) expect(refusedPaths([field], change)).toEqual([formatted(field.path)]);
    expect(refusedPaths(names, change)).toHaveLength(names.length);
  });

  function refusedPaths(changed: readonly Field[], change: Change): string[] {
    const isChanged = ({ path, isName }: Field) =>
      changed.some((field) => field.isName === isName && formatted(field.path) === formatted(path));
    const input = withFields(configuration, (field) => (isChanged(field) ? change(String(field.base)) : field.base));
    return problemsOf(input).map((problem) => problem.split(': ')[0]?.split(' ')[1] ?? '');
  }
});

test('an argument may hold what it likes, since no shell reads it', () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell would expand it
  const run = ['node', '-e', 'console.log("$HOME"); # ${HOME}\n'];
  const [component] = parseConfiguration(stringify(changed({ run })), '/srv/app/bascule.yaml').components;
  expect(component?.run).toEqual(run);
});

test('a wrong value is not repeated in the error, since it may be a secret', () => {
  const problems = problemsOf({ ...changed({ env: { PASSWORD: ['hunter2'] } }), artifacts: { token: 'hunter2' } });
  expect(problems.length).toBeGreaterThan(1);
  expect(problems.join()).not.toContain('hunter2');
});

/** The first configuration, its component changed. */
function changed(component: object): Record<string, unknown> {
  const configuration = structuredClone(configurations.processes) as { components: { api: object } };
  Object.assign(configuration.components.api, component);
  return configuration as never;
}

function problemsOf(configuration: unknown): string[] {
  try {
    parseConfiguration(stringify(configuration), '/srv/app/bascule.yaml');
  } catch (error) {
    if (error instanceof BasculeError && error.code === 'config-invalid') {
      return [...(error.args as { problems: readonly string[] }).problems];
    }
    throw error;
  }
  return [];
}
