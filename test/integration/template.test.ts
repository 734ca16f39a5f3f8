import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { component, environment, stateOf } from '../rig/applied.js';
import { type EdgeUnderTest, probeOf, startEdgeUnderTest } from '../rig/edge-under-test.js';

const components = [
  component('api', { routes: [{ prefix: '/api/v1' }], balance: { kind: 'cookie', cookie: 'SERVERID' } }),
  component('stream', { routes: [{ prefix: '/hls/' }, { prefix: '/api/v1/live' }], balance: { kind: 'hash-uri' } }),
  component('web', { isDefault: true }),
];
const environments = [
  environment('staging', ['staging.localhost']),
  environment('prod', ['localhost', 'prod.localhost']),
];
const colors = (prod: 'blue' | 'green', { hasStandby }: { hasStandby: boolean }) => [
  stateOf('staging', 'green', { hasStandby: true }),
  stateOf('prod', prod, { hasStandby }),
];

describe('the edge', () => {
  let edge: EdgeUnderTest;
  beforeAll(async () => {
    edge = await startEdgeUnderTest({ environments, components, states: colors('blue', { hasStandby: true }) });
  });
  afterAll(async () => await edge.dispose());

  it.each([
    ['localhost', '/', 'demo-prod-web-blue'],
    ['LOCALHOST:8088', '/', 'demo-prod-web-blue'],
    ['prod.localhost', '/api/v1', 'demo-prod-api-blue'],
    ['prod.localhost', '/api/v1?x=/hls/', 'demo-prod-api-blue'],
    ['prod.localhost', '/api/v1/users', 'demo-prod-api-blue'],
    ['prod.localhost', '/api/v1x', 'demo-prod-web-blue'],
    ['prod.localhost', '/api/v1/live/1', 'demo-prod-stream-blue'],
    ['prod.localhost', '/hls/1.ts', 'demo-prod-stream-blue'],
    ['prod.localhost', '/hls', 'demo-prod-web-blue'],
    ['staging.localhost', '/api/v1/users', 'demo-staging-api-green'],
    ['staging.localhost', '/hls/1.ts', 'demo-staging-stream-green'],
    ['staging.localhost', '/any', 'demo-staging-web-green'],
  ])('routes %s%s to %s', async (host, path, instance) => {
    expect(await edge.ask(host, path)).toMatchObject({ status: 200, body: instance });
  });

  it.each(['example.test', 'xprod.localhost', 'prod.localhost.example.test', ''])(
    'answers 503 to the host %j, which no environment has',
    async (host) => {
      expect(await edge.ask(host, '/')).toMatchObject({ status: 503, body: 'Unknown host.\n' });
    },
  );

  it('names the server to nobody who does not know the random of this generation', async () => {
    for (const headers of [{}, { 'X-Bascule-Probe': '' }, { 'X-Bascule-Probe': 'wrong' }]) {
      expect((await edge.ask('localhost', '/', headers)).headers).not.toHaveProperty('x-bascule-server');
    }
    const { headers } = await edge.ask('localhost', '/', { 'X-Bascule-Probe': probeOf(1) });
    expect(headers['x-bascule-server']).toBe('prod_web_pool/demo-prod-web-blue');
  });

  it('keeps the random from the apps, and gives them the visitor’s address', async () => {
    await edge.ask('localhost', '/probed', { 'X-Bascule-Probe': probeOf(1) });
    const request = edge.apps.get('demo-prod-web-blue')?.requests.find(({ path }) => path === '/probed');
    expect(request?.headers).not.toHaveProperty('x-bascule-probe');
    expect(request?.headers['x-forwarded-for']).toBe('127.0.0.1');
  });
});

describe('a switch', () => {
  let edge: EdgeUnderTest;
  beforeAll(async () => {
    edge = await startEdgeUnderTest({ environments, components, states: colors('blue', { hasStandby: true }) });
  });
  afterAll(async () => await edge.dispose());

  it('leads a visitor with the cookie of the old color to the new one, and back', async () => {
    const first = await edge.ask('localhost', '/api/v1');
    expect(first.body).toBe('demo-prod-api-blue');
    const [cookie = ''] = first.headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/^SERVERID_prod=s1;.*HttpOnly/);
    const visitor = { Cookie: cookie.split(';')[0] ?? '' };
    expect((await edge.ask('localhost', '/api/v1', visitor)).headers).not.toHaveProperty('set-cookie');

    await edge.reload(colors('green', { hasStandby: true }), 2);
    for (let request = 0; request < 10; request += 1) {
      expect((await edge.ask('localhost', '/api/v1', visitor)).body).toBe('demo-prod-api-green');
    }
    await edge.reload(colors('blue', { hasStandby: true }), 3);
    expect((await edge.ask('localhost', '/api/v1', visitor)).body).toBe('demo-prod-api-blue');
  });

  it('leaves the other environment where it was', async () => {
    await edge.reload(colors('green', { hasStandby: true }), 4);
    expect((await edge.ask('staging.localhost', '/')).body).toBe('demo-staging-web-green');
  });
});

describe('when all servers of the active color are dead', () => {
  const visitor = { Cookie: 'SERVERID_prod=s1' };

  it.each(['/api/v1', '/hls/1.ts', '/'])('the standby answers %s', async (path) => {
    const edge = await startEdgeUnderTest({ environments, components, states: colors('blue', { hasStandby: true }) });
    try {
      await edge.untilUp(Object.keys(edge.applied.addresses));
      await stopBlue(edge);
      for (let request = 0; request < 5; request += 1) {
        expect(await edge.ask('localhost', path, visitor)).toMatchObject({
          status: 200,
          body: expect.stringMatching(/^demo-prod-\w+-green$/),
        });
      }
    } finally {
      await edge.dispose();
    }
  });

  it('a release that is no standby never answers: 503, although it is UP', async () => {
    const edge = await startEdgeUnderTest({ environments, components, states: colors('blue', { hasStandby: false }) });
    try {
      await edge.untilUp(Object.keys(edge.applied.addresses));
      await stopBlue(edge);
      for (const path of ['/api/v1', '/hls/1.ts', '/']) {
        for (let request = 0; request < 5; request += 1) {
          expect((await edge.ask('localhost', path, visitor)).status).toBe(503);
        }
      }
      await edge.untilUp(['demo-prod-api-green', 'demo-prod-stream-green', 'demo-prod-web-green']);
      const asked = ['api', 'stream', 'web'].flatMap(
        (name) => edge.apps.get(`demo-prod-${name}-green`)?.requests ?? [],
      );
      expect(asked.filter(({ path }) => path !== '/health')).toEqual([]);
    } finally {
      await edge.dispose();
    }
  });
});

async function stopBlue(edge: EdgeUnderTest): Promise<void> {
  for (const name of ['api', 'stream', 'web']) await edge.stopInstance(`demo-prod-${name}-blue`);
}
