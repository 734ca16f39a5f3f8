import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Status } from '../../src/domain/inspect.js';
import { visitOnce } from '../rig/ask.js';
import { type Project, startProject } from '../rig/project.js';

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: (yaml) => yaml.replace(/addresses: 127\S+/, 'addresses: 127.0.0.1') });
  await project.releaseAll('a1a1a1a1');
  await project.startWorker();
});

afterAll(async () => {
  await project.stop();
});

test('with one address each instance has a port of its own, and visitors get the release', async () => {
  expect((await project.bascule('apply')).exitCode).toBe(0);
  const { exitCode, stdout } = await project.bascule('deploy', 'prod', 'a1a1a1a1', '--soak', '0s');
  expect(exitCode, stdout).toBe(0);

  const { document } = await project.json<Status>('status');
  const addresses = document.environments.flatMap(({ colors }) =>
    Object.values(colors ?? {}).flatMap(({ components }) => components.map(({ address }) => address)),
  );
  expect(new Set(addresses).size).toBe(8);
  for (const address of addresses) expect(address).toMatch(/^127\.0\.0\.1:\d+$/);

  const answer = await visitOnce({ ...project.edge, host: 'localhost', path: '/api/v1/x' });
  expect(answer).toMatchObject({ status: 200, component: 'api', environment: 'prod', sha: 'a1a1a1a1' });
});
