import { request } from 'node:http';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTemporalUi, type TemporalUi } from '../../src/cli/temporal-ui.js';
import { freePort } from '../rig/ports.js';
import { startTemporal, type TemporalServer } from '../rig/temporal.js';
import { askAsWebPage } from '../rig/web-page.js';

let ui: TemporalUi;
let temporal: TemporalServer;
let uiPort = 0;

beforeAll(async () => {
  uiPort = await freePort();
  ui = await startTemporalUi(uiPort);
  temporal = await startTemporal({ ui: ui.behind });
});
afterAll(async () => {
  await temporal?.stop();
  await ui?.stop();
});

test("Temporal's HTTP API takes nothing, whoever asks and by what name", async () => {
  expect(await askAsWebPage({ address: '127.0.0.1', port: temporal.httpPort })).toEqual([]);
  const own = await fetch(`http://127.0.0.1:${temporal.httpPort}/api/v1/namespaces`);
  expect(own.status).toBe(403);
});

test("Temporal's UI answers who asks for it by its own address, and no web page", async () => {
  expect(await askAsWebPage({ address: '127.0.0.1', port: uiPort })).toEqual([]);
  expect(ui.url).toBe(`http://127.0.0.1:${uiPort}/`);
  const asked = (host: string, origin?: string) => statusOf(uiPort, { host, ...(origin && { origin }) });
  expect(await asked(`127.0.0.1:${uiPort}`)).toBe(200);
  expect(await asked(`localhost:${uiPort}`, `http://localhost:${uiPort}`)).toBe(200);
  expect(await asked(`localhost:${uiPort}`, 'http://localhost:1')).toBe(403);
  expect(await asked(`127.0.0.1.foreign.example:${uiPort}`)).toBe(403);
  // Its own pages change things with this token.
  const page = await fetch(ui.url);
  const cookie = page.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  const signalled = await fetch(`${ui.url}api/v1/namespaces/default/workflows/none/signal/rollback`, {
    method: 'POST',
    headers: { cookie, 'x-csrf-token': cookie.replace(/^_csrf=/, ''), 'content-type': 'application/json' },
    body: '{}',
  });
  expect(await signalled.json()).toMatchObject({ message: expect.stringContaining('workflow not found') });
});

test('Temporal starts no single activity', async () => {
  const connection = await Connection.connect({ address: temporal.address });
  const started = connection.workflowService.startActivityExecution({
    ...{ namespace: 'default', activityId: 'foreign', activityType: { name: 'readEnvironment' }, requestId: 'foreign' },
    taskQueue: { name: 'bascule-demo' },
    startToCloseTimeout: { seconds: 5 as unknown as Long },
  });
  await expect(started).rejects.toThrow(/disabled|not enabled/i);
  await connection.close();
});

function statusOf(port: number, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, headers }, (answer) => resolve(answer.resume().statusCode));
    asked.on('error', reject).end();
  });
}
