import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { acceptedSchema, endingSchema } from '../../src/cli/output-schema.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { type Project, startProject } from '../rig/project.js';

const bascule = fileURLToPath(new URL('../../dist/bascule.cjs', import.meta.url));
const sha = 'a1a1a1a1';

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: quick });
  await project.releaseAll(sha);
  await project.startWorker();
  await mustSucceed(project, 'apply');
});
afterAll(() => project.stop());

test('while Temporal is lost follow ends with 4 and says how to go on; status --watch says so and goes on', async () => {
  const { document } = await project.json<unknown>('deploy', 'prod', sha, '--wait-for-approval', '--detach');
  const { operation } = acceptedSchema.parse(document);
  const watch = execa(process.execPath, [bascule, 'status', 'prod', '--watch', '--json'], {
    cwd: project.directory,
    env: project.env,
    reject: false,
  });
  const lines = createInterface({ input: watch.stdout })[Symbol.asyncIterator]();
  const untilLine = async (text: string) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`status --watch has ended: ${(await watch).stderr}`);
      if (value.includes(text)) return value;
    }
  };
  await untilLine('"waiting":"approval"');
  const following = project.bascule('follow', operation);

  await project.temporal.kill();
  const unreadable = endingSchema.parse(JSON.parse(await untilLine('"temporal-unreachable"')));
  expect(unreadable).toMatchObject({ outcome: 'unavailable', since: expect.any(String) });
  const { exitCode, stderr } = await following;
  expect(exitCode, stderr).toBe(4);
  expect(stderr).toContain(`→ bascule follow ${operation}`);

  await project.temporal.restart();
  await untilLine('"environments"');
  await project.killWorker();
  await untilLine('"no-worker"');
  await project.startWorker();
  await untilLine('"environments"');
  watch.kill('SIGINT');
  expect((await once(watch, 'exit'))[0]).toBe(130);

  const abort = async () => (await project.bascule('abort', 'prod')).exitCode;
  await expect.poll(abort, { timeout: 60_000 }).toBe(0);
  expect((await project.bascule('follow', operation)).exitCode).toBe(1);
});
