import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../rig/ask.js';
import { freePort } from '../rig/ports.js';
import type { Project } from '../rig/project.js';
import { type BareProject, type Place, startBareProject } from './rig/projects.js';

// The commands of docs/incus.md, from a daemon as its package leaves it.

let rig: BareProject;
let project: Project;

beforeAll(async () => {
  const port = await freePort();
  const configure = ({ image, network, subnet }: Place) => `version: 1
project: shop
edge:
  host: { driver: incus, instance: shop-haproxy }
  http: "*:${port}"
provision: { network: ${network}, subnet: ${subnet} }
environments:
  prod: { hosts: [shop.example.org], soak: 0s }
components:
  web:
    health: { path: /, interval: 100ms, fall: 2, rise: 1 }
    run: ["./shop"]
artifacts:
  url: "file:./artifacts/{sha}.tar.gz"
instances:
  driver: incus
  image: ${image}
  domain: lxd
`;
  rig = await startBareProject((_, place) => configure(place), { edge: { address: '127.0.0.1', port } });
  project = rig.project;
  await project.startWorker();
});
afterAll(() => rig?.stop());

const visit = async () => await ask(project.edge, 'shop.example.org', '/');

/** Where it does not, the steps that it took tell how far it came. */
async function succeed(...command: readonly string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await project.bascule(...command, '--timeout', '80s');
  expect(exitCode, `${stderr}\n${stdout}`).toBe(0);
}

/** A service that needs nothing but what is in the image. */
async function release(sha: string): Promise<void> {
  const folder = await mkdtemp(join(project.directory, 'build-'));
  const answer = `printf "HTTP/1.0 200 OK\\r\\n\\r\\n${sha}"`;
  await writeFile(join(folder, 'answer'), `#!/bin/sh\nread -r line\n${answer}\n`);
  await writeFile(join(folder, 'shop'), '#!/bin/sh\nexec socat "TCP4-LISTEN:$PORT,reuseaddr,fork" EXEC:./answer\n');
  for (const name of ['answer', 'shop']) await chmod(join(folder, name), 0o755);
  await mkdir(join(project.directory, 'artifacts'), { recursive: true });
  await execa('tar', ['-czf', join(project.directory, 'artifacts', `${sha}.tar.gz`), '-C', folder, '.']);
}

test('an edge is provisioned and a release is deployed to instances beside it, which visitors get at the port of the machine', async () => {
  await succeed('provision');
  expect((await visit()).status).toBe(503);
  await release('4f2a91c');
  await succeed('deploy', 'prod', '4f2a91c');
  expect((await visit()).body).toContain('4f2a91c');
  const names = (await rig.incus('list', '--format', 'csv', '--columns', 'n')).split('\n').toSorted();
  expect(names).toEqual(['shop-haproxy', 'shop-prod-web-green']);
  expect((await project.bascule('provision')).stdout).toContain('nothing to do');
});

test('where no name server knows the instances the edge finds each by its address, once it has that one', async () => {
  const file = join(project.directory, 'bascule.yaml');
  const range = rig.subnet.replace('.1/24', '.128');
  await writeFile(file, (await readFile(file, 'utf8')).replace('domain: lxd', `addresses: ${range}/25`));
  const early = await project.bascule('apply');
  expect(early).toMatchObject({
    exitCode: 2,
    stdout: expect.stringContaining('where nothing answers: shop-prod-web-green'),
  });
  expect((await visit()).body).toContain('4f2a91c');
  const address = range.replace('128', '130');
  await rig.incus('config', 'device', 'set', 'shop-prod-web-green', 'eth0', `ipv4.address=${address}`);
  await rig.incus('restart', 'shop-prod-web-green');
  expect((await project.bascule('apply')).exitCode).toBe(0);
  expect((await visit()).body).toContain('4f2a91c');
  await release('5f2a91c');
  await succeed('deploy', 'prod', '5f2a91c');
  expect((await visit()).body).toContain('5f2a91c');
});
