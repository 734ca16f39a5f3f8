import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { mustSucceed, quick } from '../rig/chaos.js';
import { type Project, startProject } from '../rig/project.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const examples = join(root, 'examples/ci');
const [first, second, broken] = ['a1a1a1a1', 'b2b2b2b2', 'bad0bad0'];

interface Workflow {
  readonly env: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, { readonly steps: readonly { readonly run?: string }[] }>>;
}

let project: Project;
/** A checkout of somebody's repository, without bascule.yaml. */
let checkout: string;

beforeAll(async () => {
  project = await startProject({ configure: quick });
  for (const sha of [first, second]) await project.releaseAll(sha);
  await project.releaseAll(broken, { crash: true });
  checkout = join(project.directory, 'checkout');
  await mkdir(join(checkout, 'bin'), { recursive: true });
  for (const file of ['deploy.sh', 'summary.mjs']) await cp(join(examples, file), join(checkout, 'ci', file));
  const command = `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'dist/bascule.cjs')}' "$@"\n`;
  await writeFile(join(checkout, 'bin/bascule'), command, { mode: 0o755 });
  await project.startWorker();
  await mustSucceed(project, 'apply');
});
afterAll(() => project?.stop());

/** Runs a job's commands as a runner does: with the workflow's variables, and a summary. */
async function runJob(file: string, job: string, run: { sha: string; id: string }) {
  const { env, jobs } = parse(await readFile(join(examples, file), 'utf8')) as Workflow;
  const summary = join(checkout, 'summary.md');
  await rm(summary, { force: true });
  const commands = jobs[job]?.steps.flatMap((step) => step.run ?? []) ?? [];
  expect(commands).toHaveLength(1);
  const { exitCode, all } = await execa('sh', ['-ec', commands.join('\n')], {
    cwd: checkout,
    env: {
      ...env,
      ...project.env,
      PATH: `${join(checkout, 'bin')}:${process.env.PATH ?? ''}`,
      GITHUB_REPOSITORY: 'you/shop',
      GITHUB_RUN_ID: run.id,
      GITHUB_SHA: run.sha,
      GITHUB_STEP_SUMMARY: summary,
    },
    reject: false,
    all: true,
  });
  return { exitCode, all, summary: await readFile(summary, 'utf8') };
}

test('both are there, and differ in nothing that they run', async () => {
  expect((await readdir(examples)).toSorted()).toEqual(['deploy.sh', 'forgejo.yml', 'github.yml', 'summary.mjs']);
  const commands = async (file: string) => {
    const { jobs } = parse(await readFile(join(examples, file), 'utf8')) as Workflow;
    return Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
  };
  expect(await commands('forgejo.yml')).toEqual(await commands('github.yml'));
});

describe('a push', () => {
  test('deploys to staging and says in the summary what serves and how long each step took', async () => {
    const { exitCode, all, summary } = await runJob('github.yml', 'staging', { sha: first, id: '100' });
    expect(exitCode, all).toBe(0);
    expect(summary).toContain('✅ demo/staging/deploy/1: succeeded');
    expect(summary).toContain(`staging: nothing → \`${first}\` (green)`);
    expect(summary).toMatch(/\| switch to green \| [\d.]+ s \| done \|/);
  });

  test('of a release that fails ends the job with its reason, and what serves', async () => {
    const { exitCode, summary } = await runJob('forgejo.yml', 'staging', { sha: broken, id: '101' });
    expect(exitCode).toBe(1);
    expect(summary).toContain('failed (instance-exited)');
    expect(summary).toContain(`staging serves \`${first}\` (green) as before`);
    expect(summary).toContain('**Next:**');
  });
});

test('a tag deploys to prod after approval; the job that is run again joins', async () => {
  const run = { sha: second, id: '102' };
  const job = runJob('github.yml', 'prod', run);
  await expect
    .poll(async () => (await project.bascule('status', 'prod')).stdout, { timeout: 20_000 })
    .toContain('→ bascule approve prod');
  const again = runJob('forgejo.yml', 'prod', run);
  await mustSucceed(project, 'approve', 'prod');
  const [{ exitCode, all, summary }] = await Promise.all([job, again]);
  expect(exitCode, all).toBe(0);
  expect(summary).toContain('demo/prod/deploy/1: succeeded');
  expect((await again).all).toContain('demo/prod/deploy/1');
  const later = await runJob('github.yml', 'prod', run);
  expect(later.exitCode).toBe(0);
  expect(later.summary).toContain('demo/prod/deploy/1');
});
