import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { z } from 'zod';
import {
  acceptedSchema,
  endingSchema,
  operationsSchema,
  resultSchema,
  statusSchema,
} from '../../src/cli/output-schema.js';
import { quick } from '../rig/chaos.js';
import { type CommandResult, runCommand } from '../rig/command.js';
import { environmentOf } from '../rig/environment-view.js';
import { type Project, startProject } from '../rig/project.js';

const within = { timeout: 20_000 };
const [first, second, third, broken, loud] = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3', 'bad0bad0', 'bad1bad1'];
/** What a terminal acts on. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const controls = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: quick });
  for (const sha of [first, second, third]) await project.releaseAll(sha);
  await project.releaseAll(broken, { crash: true });
  await project.startWorker();
});
afterAll(async () => {
  await project.stop();
});

/** The one document that --json prints, held to its schema. */
async function json<T extends z.ZodType>(schema: T, ...args: readonly string[]) {
  const { exitCode, document, stderr } = await project.json<unknown>(...args);
  return { exitCode, document: schema.parse(document), stderr };
}

const prod = async () => environmentOf(await project.look(), 'prod');
const deploy = (sha: string, ...more: readonly string[]) => ['deploy', 'prod', sha, '--drain', '0s', ...more];

describe('a deploy that is waited for', () => {
  test('apply puts bascule.yaml in force, and a second time finds nothing to change', async () => {
    const applied = await json(resultSchema, 'apply');
    expect(applied).toMatchObject({ exitCode: 0, document: { kind: 'apply', outcome: 'succeeded', changed: true } });
    const { exitCode, stdout } = await project.bascule('apply');
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('already') });
  });

  test('ends with 0, its result as one document on stdout and its steps on stderr', async () => {
    const { exitCode, document, stderr } = await json(resultSchema, ...deploy(first, '--soak', '0s'));
    expect(exitCode, stderr).toBe(0);
    expect(document).toMatchObject({ kind: 'deploy', environment: 'prod', outcome: 'succeeded', sha: first });
    expect(document.to).toEqual({ color: 'green', sha: first });
    for (const step of document.steps) expect(stderr).toContain(step.name);
  });

  test('says in a sentence what serves now and what did before', async () => {
    const { exitCode, stdout } = await project.bascule(...deploy(second, '--soak', '0s'));
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^✔ prod serves b2b2b2b2 \(blue\) · was a1a1a1a1 \(green\) · [\d.]+ s$/);
  });

  test('apply leads nobody to another port of what serves where nothing answers there', async () => {
    const file = join(project.directory, 'bascule.yaml');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace(/port: \d+/, 'port: 9999'));
    const { exitCode, document } = await json(resultSchema, 'apply');
    await writeFile(file, text);
    expect(exitCode, document.message).toBe(2);
    expect(document).toMatchObject({ outcome: 'failed', code: 'visitors-led-away', generation: null });
    expect(document.message).toContain(':9999');
    expect((await project.look()).edge.generation).not.toBeNull();
  });

  test('--quiet prints the answer alone', async () => {
    const { exitCode, stdout, stderr } = await project.bascule(...deploy(second), '--quiet');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain('prod serves b2b2b2b2 already');
  });

  test('ends with 1 when the release does not start, and says what serves and what was lost', async () => {
    const { exitCode, stdout } = await project.bascule(...deploy(broken));
    expect(exitCode).toBe(1);
    expect(stdout).toContain('failed (instance-exited)');
    expect(stdout).toContain('prod serves b2b2b2b2 (blue) as before');
    expect(stdout).toContain('lost: the standby a1a1a1a1 on green');
    expect(stdout).toMatch(/\n→ .*deploy again/);
  });

  describe('shows control characters of others as text', () => {
    const hostile = 'x\x1b[2J\x1b]0;owned\x07\x9b31m\u202ey';
    const shown = 'x\\u001b[2J\\u001b]0;owned\\u0007\\u009b31m\\u202ey';
    let failed: CommandResult;

    beforeAll(async () => {
      const file = join(project.directory, '.bascule/instances/demo-api-blue/log/current.log');
      const program = `console.log(${JSON.stringify(hostile)}); process.exit(1);`;
      await project.releaseAll(loud, { files: { 'server.mjs': program } });
      failed = await project.bascule(...deploy(loud, '--why', hostile));
      await appendFile(file, `${hostile}\n`);
    });

    test('in why a release failed: the last lines of its log', () => {
      expect(failed.exitCode).toBe(1);
      expect(failed.stderr + failed.stdout).toContain(shown);
      expect(failed.stderr + failed.stdout).not.toMatch(controls);
    });

    test.each([
      { args: ['logs', 'prod', 'api'], holds: true },
      { args: ['status'], holds: false },
      { args: ['history', 'prod'], holds: false },
      { args: ['rollback', 'prod', '--list'], holds: false },
      { args: ['doctor'], holds: false },
      { args: ['status', 'prod', `no${hostile}`], holds: false },
      { args: ['follow', `demo/prod/deploy/${hostile}`], holds: true },
      { args: ['deploy', `prod${hostile}`, first], holds: true },
      { args: ['--config', `/nowhere/${hostile}.yaml`, 'validate'], holds: true },
    ])('in $args', async ({ args, holds }) => {
      for (const more of [[], ['--json'], ['--verbose']]) {
        const { stdout, stderr } = await project.bascule(...args, ...more);
        expect(`${stdout}${stderr}`).not.toMatch(controls);
        if (holds) expect(`${stdout}${stderr}`).toContain(more[0] === '--json' ? 'owned' : shown);
      }
    });

    test('in the log of the worker', async () => {
      expect(await project.workerLog()).not.toMatch(controls);
    });
  });

  test('ends with 2 when there is no such artifact: nothing began', async () => {
    const { exitCode, document } = await json(resultSchema, ...deploy('dddddddd'));
    expect(exitCode).toBe(2);
    expect(document).toMatchObject({ outcome: 'failed', code: 'artifact-not-found', generation: null });
  });

  test('ends with 2 when the worker knows no such environment', async () => {
    const elsewhere = await runCommand(['deploy', 'qa', first, '--project', 'demo', '--json'], {
      folder: '/',
      env: { ...process.env, ...project.env },
    });
    expect(elsewhere.exitCode).toBe(2);
    const document = endingSchema.parse(JSON.parse(elsewhere.stdout));
    expect(document).toMatchObject({
      outcome: 'refused',
      code: 'unknown-environment',
      remedy: 'It has: staging, prod.',
    });
  });
});

describe('what goes on without the command', () => {
  test('--detach ends with 0 and the id, by which it is followed to its end', async () => {
    const detached = await json(acceptedSchema, ...deploy(third, '--soak', '0s', '--detach'));
    expect(detached).toMatchObject({ exitCode: 0, document: { joined: false, position: 0 } });
    const followed = await json(resultSchema, 'follow', detached.document.operation);
    expect(followed).toMatchObject({ exitCode: 0, document: { operation: detached.document.operation, sha: third } });
  });

  describe('and waits for approval', () => {
    let operation = '';

    test('--timeout ends with 4 and the command to follow it', async () => {
      const { exitCode, document } = await json(
        endingSchema,
        ...deploy(first, '--wait-for-approval', '--timeout', '1s'),
      );
      expect({ exitCode, document }).toMatchObject({
        exitCode: 4,
        document: { outcome: 'detached', code: 'timeout-passed' },
      });
      operation = document.operation ?? '';
      expect(document.remedy).toBe(`bascule follow ${operation}`);
    });

    test('SIGINT, SIGTERM and SIGHUP end the command that follows it, which says how to follow and how to abort', async () => {
      const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
      const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
      const interrupted = await Promise.all(
        signals.map(async (signal) => {
          const follow = project.start('follow', operation);
          await follow.printed(/./, 'stderr');
          follow.kill(signal);
          return await follow.ended;
        }),
      );
      expect(interrupted.map(({ exitCode }) => exitCode)).toEqual(signals.map((signal) => exitCodes[signal]));
      for (const { stderr } of interrupted) {
        expect(stderr).toContain(`bascule follow ${operation}`);
        expect(stderr).toContain('bascule abort prod');
      }
      expect((await prod()).operation?.id).toBe(operation);
    });

    test('abort stops it, and following it ends with 1', async () => {
      expect(await json(acceptedSchema, 'abort', 'prod', '--why', 'not today')).toMatchObject({ exitCode: 0 });
      const followed = await json(resultSchema, 'follow', operation);
      expect(followed).toMatchObject({ exitCode: 1, document: { outcome: 'failed', code: 'aborted' } });
      expect(followed.document.message).toContain('not today');
    });

    test('status says so, and it goes on when approval is given', async () => {
      const { document } = await json(
        acceptedSchema,
        ...deploy(first, '--wait-for-approval', '--soak', '0s', '--detach'),
      );
      await expect.poll(async () => (await prod()).waiting, within).toBe('approval');
      expect((await project.bascule('status', 'prod')).stdout).toContain('→ bascule approve prod');
      expect((await project.bascule('approve', 'prod')).exitCode).toBe(0);
      expect(await json(resultSchema, 'follow', document.operation)).toMatchObject({ exitCode: 0 });
    });
  });

  test('an operation that never was ends with 2', async () => {
    const { exitCode, document } = await json(endingSchema, 'follow', 'demo/prod/deploy/999');
    expect({ exitCode, document }).toMatchObject({ exitCode: 2, document: { code: 'unknown-operation' } });
  });

  test('approve and abort end with 2 where nothing runs', async () => {
    expect(await json(endingSchema, 'abort', 'prod')).toMatchObject({
      exitCode: 2,
      document: { code: 'nothing-to-steer' },
    });
  });
});

describe('looking', () => {
  test('status shows what serves, and as JSON what its schema says', async () => {
    const { exitCode, document } = await json(statusSchema, 'status', 'prod');
    expect(exitCode).toBe(0);
    expect(document.environments.map(({ name }) => name)).toEqual(['prod']);
    const { stdout } = await project.bascule('status', 'prod');
    for (const color of ['blue', 'green'] as const) {
      const { components } = document.environments[0]?.colors?.[color] ?? { components: [] };
      for (const { instance, address } of components)
        expect(stdout).toMatch(new RegExp(`${instance} +${address} +\\w+`));
    }
  });

  test('history --all has every operation that began, with who, why and how it ended', async () => {
    const why = 'a reason \u001b[31m in red';
    await json(endingSchema, ...deploy('deadbee0', '--why', why));
    const { exitCode, document } = await json(operationsSchema, 'history', 'prod', '--all');
    expect(exitCode).toBe(0);
    const { operations } = document;
    expect(operations[0]).toMatchObject({
      ...{ kind: 'deploy', sha: 'deadbee0', outcome: 'failed', code: 'artifact-not-found', why },
      by: expect.any(String),
    });
    expect(operations.map(({ outcome, code }) => code ?? outcome)).toEqual(
      expect.arrayContaining(['succeeded', 'instance-exited', 'aborted']),
    );
    const times = operations.map(({ startedAt }) => startedAt);
    expect(times).toEqual(times.toSorted().reverse());
    const { stdout } = await project.bascule('history', 'prod', '--all');
    expect(stdout).toMatch(
      /^✘ +\S+ +deploy +deadbee0 +failed \(artifact-not-found\) +[\d.]+ s +\S+ +a reason .\[31m in red · /m,
    );
    expect(stdout).not.toContain('\u001b');
  });

  test('history is newest first, and its first line is what serves', async () => {
    const { exitCode, document } = await project.json<{ history: { at: string; sha: string }[] }>('history', 'prod');
    expect(exitCode).toBe(0);
    expect(document.history[0]?.sha).toBe((await prod()).sha);
    const times = document.history.map(({ at }) => at);
    expect(times).toEqual(times.toSorted().reverse());
  });

  test('logs shows what the active instance wrote, and refuses a component that there is not', async () => {
    const { exitCode, stdout } = await project.bascule('logs', 'prod', 'api', '--tail', '5');
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('listening on') });
    expect(stdout.split('\n').length).toBeLessThanOrEqual(5);
    expect(await json(endingSchema, 'logs', 'prod', 'nope')).toMatchObject({
      exitCode: 2,
      document: { code: 'unknown-component' },
    });
  });

  test('--dry-run shows what a switch would change, and changes nothing', async () => {
    await project.bascule(...deploy(second, '--soak', '0s'));
    const before = await readFile(join(project.directory, '.bascule/edge/haproxy.cfg'), 'utf8');
    const { active } = await prod();
    const { exitCode, stdout } = await project.bascule(
      'switch',
      'prod',
      active === 'blue' ? 'green' : 'blue',
      '--dry-run',
    );
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^-.*server demo-api-/m);
    expect(stdout).toContain('would serve');
    expect(await readFile(join(project.directory, '.bascule/edge/haproxy.cfg'), 'utf8')).toBe(before);
  });

  test('rollback goes back to the release before', async () => {
    const { exitCode, document } = await json(resultSchema, 'rollback', 'prod');
    expect(exitCode).toBe(0);
    expect(document).toMatchObject({ kind: 'rollback', from: { sha: second }, to: { sha: first } });
  });
});

describe('what dies meanwhile', () => {
  test('a worker that is killed and started again is waited for', async () => {
    const waiting = project.bascule(...deploy(third, '--soak', '2s'));
    await expect.poll(async () => (await prod()).operation, within).not.toBeNull();
    await project.killWorker();
    await project.startWorker();
    const { exitCode, stdout } = await waiting;
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('prod serves c3c3c3c3'),
    });
  });

  test('Temporal back without its database ends with 3: nobody carries it on, and visitors are served', async () => {
    const { document } = await json(acceptedSchema, ...deploy(second, '--wait-for-approval', '--detach'));
    const follow = project.bascule('follow', document.operation, '--json');
    await expect.poll(async () => (await prod()).waiting, within).toBe('approval');
    await project.temporal.loseDatabase();
    const { exitCode, stdout } = await follow;
    expect(exitCode, stdout).toBe(3);
    const lost = endingSchema.parse(JSON.parse(stdout));
    expect(lost).toMatchObject({ outcome: 'needs-operator', code: 'operation-lost', operation: document.operation });
    expect(lost.remedy).toContain('bascule status');
    await expect.poll(prod, within).toMatchObject({ sha: third, operation: null });
    expect((await project.bascule('cleanup', 'prod')).exitCode).toBe(0);
  });
});

test('every command ends with 5 where no worker runs: nothing began', async () => {
  await project.stopWorker();
  const commands = [['deploy', 'prod', first], ['apply'], ['status'], ['logs', 'prod', 'api']];
  for (const answer of await Promise.all(commands.map((args) => json(endingSchema, ...args)))) {
    expect(answer).toMatchObject({
      exitCode: 5,
      document: { outcome: 'unavailable', code: 'no-worker', remedy: expect.stringContaining('`bascule worker`') },
    });
  }
});
