import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { extract } from 'tar';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeRelease } from '../../rig/artifacts.js';
import { freeLoopbackRange, freePort } from '../../rig/ports.js';
import { startVisitors } from '../../rig/visitors.js';
import { openWebSocket } from '../../rig/web-socket.js';

const sha = 'abcdef1';
let directory: string;
let stops: (() => Promise<unknown>)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bascule-test-'));
  stops = [];
});

afterEach(async () => {
  for (const stop of stops) await stop();
  await rm(directory, { recursive: true, force: true });
});

/** A release of the demo service, unpacked and started as an instance is. */
async function start(options: { unhealthy?: boolean; crash?: boolean } = {}) {
  const { archive, sha256 } = await makeRelease({ directory, component: 'web', sha, ...options });
  expect(await readFile(`${archive}.sha256`, 'utf8')).toBe(`${sha256}  web-${sha}.tar.gz\n`);
  const cwd = join(directory, 'release');
  await mkdir(cwd, { recursive: true });
  await extract({ file: archive, cwd });
  const target = { address: freeLoopbackRange().address(2), port: await freePort() };
  const service = execa('node', ['server.mjs'], {
    cwd,
    env: {
      HOST: target.address,
      PORT: `${target.port}`,
      BASCULE_ENVIRONMENT: 'prod',
      BASCULE_COMPONENT: 'web',
      BASCULE_COLOR: 'blue',
      BASCULE_SHA: sha,
    },
    reject: false,
  });
  stops.push(async () => {
    service.kill('SIGKILL');
    await service;
  });
  if (!options.crash) await once(service.stdout, 'data');
  return { service, target, cwd, url: `http://${target.address}:${target.port}` };
}

test('a release says who it is on every path', async () => {
  const { url, service } = await start();
  const answer = await fetch(`${url}/anything`);
  expect(await answer.json()).toEqual({
    ...{ component: 'web', environment: 'prod', color: 'blue', sha },
    ...{ host: hostname(), pid: service.pid },
  });
});

test('an unhealthy release fails its health path alone', async () => {
  const { url } = await start({ unhealthy: true });
  const statuses = await Promise.all(
    ['/api/v1/health', '/', '/page'].map(async (path) => (await fetch(url + path)).status),
  );
  expect(statuses).toEqual([500, 500, 200]);
});

test('a running release becomes unhealthy by a file', async () => {
  const { url, cwd } = await start();
  expect((await fetch(`${url}/health`)).status).toBe(200);
  await writeFile(join(cwd, 'unhealthy'), '');
  expect((await fetch(`${url}/health`)).status).toBe(500);
});

test('a crashing release ends as it starts, and says so', async () => {
  const { service } = await start({ crash: true });
  const { exitCode, stderr } = await service;
  expect(exitCode).toBe(1);
  expect(stderr).toContain('crashes as it starts');
});

test('SIGTERM lets a request under way end, closes WebSockets and ends the service', async () => {
  const { url, target, service } = await start();
  const slow = await fetch(`${url}/slow?takes=600`);
  const webSocket = await openWebSocket({ target, host: 'prod.localhost', path: '/socket' });
  expect(webSocket.identity()?.sha).toBe(sha);
  service.kill('SIGTERM');
  expect(await slow.json()).toMatchObject({ color: 'blue' });
  expect((await service).exitCode).toBe(0);
  await expect.poll(() => webSocket.closed()?.code).toBe(1001);
});

test('a WebSocket counts what it receives while it is held open', async () => {
  const { target } = await start();
  const webSocket = await openWebSocket({ target, host: 'prod.localhost', path: '/socket' });
  await expect.poll(() => webSocket.messages(), { timeout: 5000 }).toBeGreaterThanOrEqual(3);
  expect(webSocket.closed()).toBeNull();
  await webSocket.close();
  expect(webSocket.closed()?.code).toBe(1005);
});

test('visitors count every request, by the release that answered', async () => {
  const { target } = await start();
  const visitors = await startVisitors({
    target,
    streams: [
      { host: 'prod.localhost', path: '/', kind: 'keep-alive', perSecond: 50, environment: 'prod' },
      { host: 'prod.localhost', path: '/new', kind: 'new', perSecond: 50, environment: 'prod' },
      { host: 'staging.localhost', path: '/', kind: 'cookie', perSecond: 20, environment: 'staging' },
    ],
    maxSeconds: 60,
  });
  stops.push(() => visitors.stop());
  await expect.poll(() => visitors.progress().sent, { timeout: 20_000 }).toBeGreaterThan(100);
  const report = await visitors.stop();
  expect(report).toMatchObject({ failed: 0, held: 0, endedByLimit: false });
  expect(report.answered.map(({ host, color, sha: by }) => [host, color, by])).toEqual(
    expect.arrayContaining([
      ['prod.localhost', 'blue', sha],
      ['staging.localhost', 'blue', sha],
    ]),
  );
  // This service belongs to prod, so that every answer for staging's host is a wrong one.
  const toStaging = report.requests.filter(({ host }) => host === 'staging.localhost');
  expect(report.wrongEnvironment).toBe(toStaging.length);
  const kept = report.requests.filter(({ kind }) => kind === 'keep-alive');
  expect(kept.filter(({ reused }) => !reused)).toHaveLength(1);
  expect(report.requests.filter(({ kind, reused }) => kind === 'new' && reused)).toHaveLength(0);
});

test('visitors record a service that is killed as failed requests', async () => {
  const { target, service } = await start();
  const visitors = await startVisitors({
    target,
    streams: [{ host: 'prod.localhost', path: '/', kind: 'new', perSecond: 50 }],
    maxSeconds: 60,
  });
  stops.push(() => visitors.stop());
  service.kill('SIGKILL');
  await expect.poll(() => visitors.progress().failed, { timeout: 20_000 }).toBeGreaterThan(30);
  const report = await visitors.stop();
  expect(report.failures).toHaveLength(20);
  expect(report.failures[10]?.error).toBe('ECONNREFUSED');
});

test('a load goes to this machine only', async () => {
  const streams = [{ host: 'localhost', path: '/', kind: 'new', perSecond: 1 }] as const;
  await expect(startVisitors({ target: { address: '192.0.2.1', port: 80 }, streams, maxSeconds: 1 })).rejects.toThrow(
    'neither on loopback nor in a container',
  );
});
