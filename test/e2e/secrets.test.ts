import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import { processesOf } from '../../src/hosts/processes.js';
import { until } from '../rig/chaos.js';
import type { CommandResult } from '../rig/command.js';
import { readHistories } from '../rig/histories.js';
import { freePort } from '../rig/ports.js';
import { type Project, startProject } from '../rig/project.js';

/** In each of its secrets, and in nothing that another test gives a program of this machine. */
const canary = 'canary-of-secrets';
const token = `${canary}-token-5f1c9a`;
const password = `${canary}-password-77e0b2`;
const said: CommandResult[] = [];

let project: Project;
let base: Server;

beforeAll(async () => {
  const port = await freePort();
  project = await startProject({
    env: { ARTIFACT_TOKEN: token, API_PASSWORD: password },
    configure: (yaml) =>
      yaml
        .replace('file:./artifacts', `http://127.0.0.1:${port}`)
        .replace('  checksum:', '  token: { env: ARTIFACT_TOKEN }\n  checksum:')
        .replaceAll('    run:', '    startDeadline: 3s\n    env: { PASSWORD: { env: API_PASSWORD } }\n    run:'),
  });
  base = createServer((request, response) => {
    if (request.headers.authorization !== `Bearer ${token}`) return void response.writeHead(401).end();
    const file = createReadStream(join(project.directory, 'artifacts', request.url ?? ''));
    file.on('error', () => response.writeHead(404).end());
    file.pipe(response);
  });
  await new Promise<void>((resolve) => base.listen(port, '127.0.0.1', resolve));
  await project.releaseAll('a1a1a1a1');
  await project.releaseAll('bad0bad0', { crash: true });
  await project.startWorker();
  said.push(await project.bascule('apply', '--verbose'));
});

afterAll(async () => {
  base.close();
  await project.stop();
});

test('a deploy with a token and a password succeeds, and its program has the password', async () => {
  const { exitCode, document, stderr } = await project.json<OperationResult>(
    'deploy',
    'prod',
    'a1a1a1a1',
    '--soak',
    '0s',
  );
  said.push({ exitCode, stdout: JSON.stringify(document), stderr });
  expect(exitCode, document.message).toBe(0);
  const record = await readFile(join(project.directory, '.bascule/instances/demo-api-green/record'), 'utf8');
  const environment = await readFile(`/proc/${/^pid=(\d+)$/m.exec(record)?.[1]}/environ`, 'utf8');
  expect(environment).toContain(`PASSWORD=${password}`);
});

test('nor does a look at it, a program beside it, or what a long step tells meanwhile', async () => {
  // What every user of the machine can see of a program.
  const lookAround =
    'for one in /proc/[0-9]*/cmdline; do tr "\\0" " " <$one; done; echo; printf "has %s" "$PASSWORD" | wc -c';
  const looks = [
    ['doctor'],
    ['status'],
    ['logs', 'prod', 'api'],
    ['exec', 'prod', 'api', '--', 'sh', '-c', lookAround],
  ];
  for (const look of looks) said.push(await project.bascule(...look, '--verbose'));
  expect(said.at(-1)?.stdout).toMatch(new RegExp(`\\b${'has '.length + password.length}\\s*$`));

  const soaking = project.start('deploy', 'prod', 'a1a1a1a1', '--again', '--soak', '3s', '--verbose');
  said.push({ exitCode: 0, stdout: await untilHeartbeat('demo/prod/deploy/2'), stderr: '' });
  said.push(await soaking.ended);
  expect(said.at(-1)?.exitCode).toBe(0);
});

test('a secret is in the environment of the worker and of the program that it is for, and of no other', async () => {
  const holders = async (secret: string) => {
    const programs = new Set<string>();
    for (const { pid, commandLine } of await processesOf(project.directory)) {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
      if (environment.includes(secret)) programs.add(commandLine.at(-1) ?? '');
    }
    return [...programs].sort();
  };
  expect(await holders(token)).toEqual(['worker']);
  expect(await holders(password)).toEqual(['server.mjs', 'worker']);
});

test('what lies beside bascule.yaml is the worker’s own: nobody else writes there, or reads what programs print', async () => {
  const folder = join(project.directory, '.bascule');
  const wrong: string[] = [];
  const names = await readdir(folder, { recursive: true });
  for (const name of names) {
    const file = await lstat(join(folder, name));
    if (file.isSymbolicLink()) continue;
    const isPrivate = file.isSocket() || names.includes(`${name}/record`);
    if ((file.mode & (isPrivate ? 0o077 : 0o022)) !== 0) wrong.push(`${name} ${(file.mode & 0o777).toString(8)}`);
  }
  expect(wrong).toEqual([]);
  expect(names).toContain('instances/demo-api-green/record');
});

test('a release that ends at once, and an artifact base that refuses, say so without the secret', async () => {
  said.push(await project.bascule('deploy', 'prod', 'bad0bad0', '--verbose'));
  await project.stopWorker();
  Object.assign(project.env, { ARTIFACT_TOKEN: `${canary}-wrong-token` });
  await project.startWorker();
  const refused = await project.bascule('deploy', 'prod', 'a1a1a1a1', '--again');
  said.push(refused);
  expect(refused.exitCode).toBe(2);
  expect(refused.stdout).toContain('answered 401 to the token from the environment variable ARTIFACT_TOKEN');
  expect(refused.stdout).toMatch(/→ Put a token that may read it in the environment variable ARTIFACT_TOKEN/);
});

test('no secret is in any history, output, log or file', async () => {
  const places: Record<string, string> = {
    'the commands’ output': JSON.stringify(said),
    'the worker’s log': await project.workerLog(),
    ...(await readHistories(project.temporal.address)),
    ...(await filesBelow(join(project.directory, '.bascule'))),
  };
  const found = Object.entries(places).filter(([, text]) => text.includes(canary));
  expect(found.map(([place]) => place)).toEqual([]);
  // What was looked through is what was meant: the sha stands in what is encoded there.
  expect(places['history of demo/prod/deploy/1']).toContain('"sha":"a1a1a1a1"');
});

/** What Temporal knows of a running step that has told it something, as it stands there. */
async function untilHeartbeat(workflowId: string): Promise<string> {
  const connection = await Connection.connect({ address: project.temporal.address });
  try {
    return await until(`a step of ${workflowId} is heard of`, async () => {
      const { pendingActivities } = await connection.workflowService
        .describeWorkflowExecution({ namespace: 'default', execution: { workflowId } })
        .catch(() => ({ pendingActivities: [] }));
      const heard = (pendingActivities ?? []).filter(({ lastHeartbeatTime }) => lastHeartbeatTime);
      if (heard.length === 0) return null;
      const details = heard.flatMap(({ heartbeatDetails }) => heartbeatDetails?.payloads ?? []);
      return details.map(({ data }) => Buffer.from(data ?? []).toString()).join('\n') || 'no details';
    });
  } finally {
    await connection.close();
  }
}

async function filesBelow(folder: string): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const name of await readdir(folder, { recursive: true })) {
    const file = join(folder, name);
    if ((await stat(file)).isFile()) texts[name] = await readFile(file, 'latin1');
  }
  return texts;
}
