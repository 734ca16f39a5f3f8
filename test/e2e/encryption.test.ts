import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Status } from '../../src/domain/inspect.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { quick } from '../rig/chaos.js';
import type { CommandResult } from '../rig/command.js';
import { readHistories } from '../rig/histories.js';
import { type Project, startProject } from '../rig/project.js';

// What of a deploy stands in Temporal's database, where others may read it.

const newKey = () => randomBytes(32).toString('base64');
const first = newKey();
const second = newKey();
const reason = 'canary-reason-3b9d';
const logLine = 'canary-log-line-c41e';

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: quick });
  for (const sha of ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3']) await project.releaseAll(sha);
  await project.releaseAll('bad0bad0', { files: { 'server.mjs': `console.error('${logLine}'); process.exit(1)` } });
  await project.startWorker();
});
afterAll(() => project.stop());

async function restartWorker(keys: string): Promise<void> {
  await project.stopWorker();
  setKeys(keys);
  await project.startWorker();
}

const setKeys = (keys: string): void => void Object.assign(project.env, { BASCULE_ENCRYPTION_KEY: keys });

/** The command as somebody types it who has other keys. */
function withKeys(keys: string, ...args: readonly string[]): Promise<CommandResult> {
  const own = project.env.BASCULE_ENCRYPTION_KEY ?? '';
  setKeys(keys);
  const { ended } = project.start(...args);
  setKeys(own);
  return ended;
}

const deploy = (...args: readonly string[]) => project.json<OperationResult>('deploy', 'prod', ...args);

describe('with a key that came later than the first deploy', () => {
  test('what was begun without it goes on', async () => {
    expect((await project.bascule('apply')).exitCode).toBe(0);
    expect((await deploy('a1a1a1a1')).document.outcome).toBe('succeeded');
    await restartWorker(`k1:${first}`);
    expect((await deploy('b2b2b2b2', '--why', reason)).document.outcome).toBe('succeeded');
    const { document } = await project.json<Status>('status');
    expect(document.environments.find(({ name }) => name === 'prod')).toMatchObject({ sha: 'b2b2b2b2' });
  });

  test('a failure is told as ever, and what its program printed', async () => {
    const { exitCode, stdout } = await project.bascule('deploy', 'prod', 'bad0bad0');
    expect(exitCode).toBe(1);
    expect(stdout).toContain(logLine);
  });

  test('neither what was asked nor what went wrong can be read in Temporal’s database', async () => {
    const histories = await readHistories(project.temporal.address);
    const found = Object.entries(histories).filter(([, text]) => text.includes('canary-'));
    expect(found.map(([of]) => of)).toEqual([]);
    // What was looked through is what was meant: the first deploy was not encrypted, the second one was.
    expect(histories['history of demo/prod/deploy/1']).toContain('"sha":"a1a1a1a1"');
    expect(histories['history of demo/prod/deploy/2']).toMatch(/encryption-key-id/);
    expect(histories['history of demo/prod/deploy/2']).not.toContain('"sha":"b2b2b2b2"');
  });
});

test.each([
  ['without a key', '', 2, 'encrypted with the key k1, which is not here'],
  ['with another key of the same id', `k1:${second}`, 5, 'does not have the key k1 that is here, or another one'],
  ['with a key that the worker does not have', `k9:${second},k1:${first}`, 5, 'does not have the key k9'],
  ['with something that is no key', `k1:${first.slice(4)}`, 2, 'holds a key k1 of 29 bytes'],
])('a command %s says so', async (_, keys, exitCode, said) => {
  const commands = [['deploy', 'prod', 'c3c3c3c3'], ['apply']];
  const answers = await Promise.all(commands.map((args) => withKeys(keys, ...args, '--verbose')));
  for (const { exitCode: exited, stdout, stderr } of answers) {
    expect(stderr).toContain(said);
    expect(stderr).toContain('→');
    expect(exited).toBe(exitCode);
    for (const key of [first, second]) expect(stderr + stdout).not.toContain(key.slice(8, 24));
  }
});

test('and began nothing', async () => {
  const { document } = await project.json<Status>('status', 'prod');
  expect(document.environments).toMatchObject([{ sha: 'b2b2b2b2', operation: null, queue: [] }]);
  expect((await project.bascule('history', 'prod')).stdout).not.toContain('c3c3c3c3');
});

test('a new key is taken into use, and the old one still reads what it wrote', async () => {
  await restartWorker(`k2:${second},k1:${first}`);
  expect((await deploy('c3c3c3c3')).document.outcome).toBe('succeeded');
  const { document } = await project.json<OperationResult>('rollback', 'prod', '--yes');
  expect(document).toMatchObject({ outcome: 'succeeded', to: { sha: 'b2b2b2b2' } });
  const old = await withKeys(`k1:${first}`, 'status');
  expect(old).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('the key k2, which is not here') });
});
