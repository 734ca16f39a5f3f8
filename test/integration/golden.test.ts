import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newerHaproxyFolder } from '../rig/haproxy.js';

/**
 * What `bascule render` prints for the shipped examples. `BASCULE_UPDATE_GOLDEN=1` writes the files anew: read the diff.
 * The version in the header is none of what they are about, so it is written as x.y.z.
 */
const repository = resolve(import.meta.dirname, '../..');
const goldens = [
  { file: 'veza.cfg', argv: ['--config', 'examples/veza.yaml', '--active', 'staging=green', '--active', 'prod=blue'] },
  { file: 'lab.cfg', argv: ['--config', 'examples/lab.yaml'] },
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-golden-'));
  await mkdir(join(folder, 'certificates'));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each(goldens)('test/golden/$file', ({ file, argv }) => {
  const golden = join(repository, 'test/golden', file);

  test('is what render prints', async () => {
    const { stdout } = await execa('node_modules/.bin/tsx', ['src/cli/main.ts', 'render', ...argv], {
      cwd: repository,
    });
    const text = `${stdout.replace(/^(# bascule .*) version=\S+$/m, '$1 version=x.y.z')}\n`;
    if (process.env.BASCULE_UPDATE_GOLDEN) await writeFile(golden, text);
    expect(text).toBe(await readFile(golden, 'utf8'));
  });

  test.each(["this machine's HAProxy", 'HAProxy 2.8'])('is accepted by %s', async (which) => {
    const program = which === 'HAProxy 2.8' ? join(await newerHaproxyFolder(), 'haproxy') : 'haproxy';
    // The certificates are on the edge's host: an empty folder stands for theirs. No name is looked up.
    const text = (await readFile(golden, 'utf8'))
      .replace('crt /usr/local/etc/tls/haproxy/', `crt ${join(folder, 'certificates')}/`)
      .replaceAll('init-addr libc,none', 'init-addr none');
    const config = join(folder, file);
    await writeFile(config, text);
    const { exitCode, stderr } = await execa(program, ['-c', '-f', config], { reject: false });
    expect(exitCode, stderr).toBe(0);
    const warnings = stderr.split('\n').filter((line) => /\[(?:WARNING|ALERT)\]/.test(line));
    expect(warnings.filter((line) => !line.includes('no SSL certificate specified for bind'))).toEqual([]);
  });
});
