import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probePool } from '../../src/haproxy/probe.js';
import { LocalHost } from '../../src/hosts/local.js';
import { component, environment, stateOf } from '../rig/applied.js';
import { type EdgeUnderTest, probeOf, startEdgeUnderTest } from '../rig/edge-under-test.js';
import { freePort } from '../rig/ports.js';

const components = [component('web', { isDefault: true })];
const states = [stateOf('prod', 'green', { hasStandby: false })];

describe('a probe through the edge', () => {
  let edge: EdgeUnderTest;
  beforeAll(async () => {
    edge = await startEdgeUnderTest({ environments: [environment('prod', ['localhost'])], components, states });
  });
  afterAll(async () => await edge.dispose());

  const probe = async (changed: { host?: string; path?: string; probe?: string } = {}) =>
    await probePool({
      from: new LocalHost(),
      to: [{ address: '127.0.0.1', port: edge.port }],
      host: 'localhost',
      path: '/',
      probe: probeOf(1),
      ...changed,
    });
  const server = 'prod_web_pool/demo-prod-web-green';

  it('learns which server answered, and with which status', async () => {
    expect(await probe()).toEqual({ server, status: 200 });
    expect(await probe({ path: '/fail' })).toEqual({ server, status: 500 });
  });

  it('does not follow a redirect', async () => {
    expect(await probe({ path: '/moved' })).toEqual({ server, status: 302 });
  });

  it('learns of no server with the random of another generation', async () => {
    expect(await probe({ probe: probeOf(2) })).toEqual({ server: null, status: 200 });
    await edge.reload(states, 2);
    expect(await probe()).toEqual({ server: null, status: 200 });
    expect(await probe({ probe: probeOf(2) })).toEqual({ server, status: 200 });
  });

  it('learns that no server answered', async () => {
    expect(await probe({ host: 'example.test' })).toEqual({ server: null, status: 503 });
    expect(await probe({ path: '/wait' })).toEqual({ server: null, status: 0 });
  });

  it('learns that nothing listens', async () => {
    const bind = { address: '*', port: await freePort() };
    expect(await probePool({ from: new LocalHost(), to: [bind], host: 'localhost', path: '/', probe: 'x' })).toEqual({
      server: null,
      status: 0,
    });
  });
});
