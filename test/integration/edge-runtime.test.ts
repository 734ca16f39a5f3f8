import { stat } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RuntimeApi } from '../../src/haproxy/runtime.js';
import { ask } from '../rig/ask.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { openRaw, untilClosed } from '../rig/raw-visitor.js';
import { askAsWebPage } from '../rig/web-page.js';

let edge: ExampleEdge;
beforeAll(async () => {
  edge = await startExampleEdge('veza');
});
afterAll(async () => await edge?.dispose());

/** What HAProxy's runtime API says to a command over TCP. */
async function overTcp(command: string): Promise<string> {
  const { runtime } = edge.applied.configuration.edge;
  if (!runtime) throw new Error('no runtime API');
  const socket = openRaw(runtime);
  socket.write(`${command}\n`);
  return (await untilClosed(socket)).trim();
}
const overUnixSocket = async (command: string) => (await new RuntimeApi(edge.haproxy.socket).command(command)).trim();

it('the runtime API over TCP tells an exporter what it asks for', async () => {
  expect(await overTcp('show cli level')).toBe('operator');
  expect(await overTcp('show stat')).toContain('prod_backend_api,veza-backend-blue,');
  expect(await overTcp('show info')).toContain('Pid: ');
});

it.each([
  'set server prod_web_pool/veza-web-blue state maint',
  'disable server prod_web_pool/veza-web-blue',
  'set weight prod_web_pool/veza-web-blue 0',
  'shutdown sessions server prod_web_pool/veza-web-blue',
  'set maxconn global 1',
  'shutdown frontend edge',
  'disable frontend edge',
  'clear counters all',
])('the runtime API over TCP refuses `%s`, and visitors are served as before', async (command) => {
  expect(await overTcp(command)).toMatch(/^Permission denied/);
  expect(await edge.visit('veza.fr', '/')).toMatchObject({ status: 200, body: 'veza-web-blue' });
});

it('the Unix socket may do all of that, and belongs to its owner alone', async () => {
  expect(await overUnixSocket('show cli level')).toBe('admin');
  expect((await stat(edge.haproxy.socket)).mode & 0o777).toBe(0o600);
  expect(await overUnixSocket('set server prod_web_pool/veza-web-blue state maint')).toBe('');
  expect((await edge.visit('veza.fr', '/')).status).toBe(503);
  expect(await overUnixSocket('set server prod_web_pool/veza-web-blue state ready')).toBe('');
  await edge.untilUp(['veza-web-blue']);
});

it('Prometheus gets its metrics on edge.metrics, and a visitor nowhere', async () => {
  const { metrics, http } = edge.applied.configuration.edge;
  if (!metrics) throw new Error('no metrics');
  const { status, body } = await ask(metrics, 'localhost', '/metrics');
  expect(status).toBe(200);
  expect(body).toContain('haproxy_server_status{proxy="staging_web_pool",server="veza-staging-web-blue",state="UP"} 1');
  expect(await askAsWebPage(metrics)).toEqual([]);
  for (const path of ['/', '/metrics/', '/stats']) expect((await ask(metrics, 'localhost', path)).status).toBe(404);

  expect((await edge.visit('veza.fr', '/metrics')).body).toBe('veza-web-blue');
  expect((await ask(http, 'example.test', '/metrics')).body).toBe('Unknown host.\n');
});
