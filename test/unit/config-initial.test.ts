import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { initialConfiguration } from '../../src/config/initial.js';
import { loadConfiguration, parseConfiguration } from '../../src/config/load.js';
import { formatDuration, formatShare, formatSize } from '../../src/config/units.js';
import { defaults } from '../../src/domain/defaults.js';

const text = initialConfiguration({ driver: 'process', project: 'hello' });

test('what init writes loads', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-init-'));
  const file = join(folder, 'bascule.yaml');
  await writeFile(file, text);
  await expect(loadConfiguration(file)).resolves.toMatchObject({ project: 'hello', environments: [{ name: 'prod' }] });
  await rm(folder, { recursive: true });
});

test('editors find the schema by the first line', () => {
  expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=./bascule.schema.json');
});

test('each line that is commented out is the default: taking it in changes nothing', () => {
  const takenIn = text
    .split('\n')
    .map((line) => (/^ *# +[a-zA-Z]+:/.test(line) ? line.replace('# ', '') : line))
    .map((line) => (line.startsWith('yaml-language-server') ? `# ${line}` : line))
    .join('\n');
  expect(takenIn.match(/^ *[a-zA-Z]+:/gm)?.length).toBeGreaterThan(40);
  expect(parseConfiguration(takenIn, '/srv/app/bascule.yaml')).toEqual(
    parseConfiguration(text, '/srv/app/bascule.yaml'),
  );
});

test('every default is in it', () => {
  for (const [key, value] of Object.entries(flat(defaults))) expect(text, key).toContain(shown(key, value));
});

test.each(['My App', '', 'a\nb: c', 'p'.repeat(49)])('the project %j is refused', (project) => {
  expect(() => initialConfiguration({ driver: 'process', project })).toThrow(
    `${JSON.stringify(project)} can't name a project here`,
  );
});

test('the longest project that init takes loads', () => {
  const longest = initialConfiguration({ driver: 'process', project: 'p'.repeat(48) });
  expect(parseConfiguration(longest, '/srv/app/bascule.yaml').project).toHaveLength(48);
});

function flat(block: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(block).flatMap(([key, value]) =>
      typeof value === 'object' && value !== null ? Object.entries(flat(value)) : [[key, value]],
    ),
  );
}

function shown(key: string, value: unknown): string {
  if (key.endsWith('Ms')) return formatDuration(Number(value));
  if (key.endsWith('Bytes') || key === 'logBytes') return formatSize(Number(value));
  return key === 'errorShare' ? formatShare(Number(value)) : String(value);
}
