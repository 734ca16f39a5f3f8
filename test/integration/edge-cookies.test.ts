import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { admitServer, drainServer } from '../../src/haproxy/side-by-side.js';
import { stateOf } from '../rig/applied.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';

const answersWithin = { timeout: 10_000, interval: 20 };
const blue = 'veza-backend-blue';
const green = 'veza-backend-green';
const prodOn = (color: 'blue' | 'green') => [
  stateOf('staging', 'blue', { hasStandby: true }),
  stateOf('prod', color, { hasStandby: true }),
];

let edge: ExampleEdge;
afterEach(async () => await edge?.dispose());

/** A visitor that keeps its cookies, as a browser does. */
class Visitor {
  cookies: Record<string, string> = {};

  constructor(
    private readonly host: string,
    private readonly path: string,
  ) {}

  /** The app that answers, or the status where none does. */
  async ask(): Promise<string> {
    const cookie = Object.entries(this.cookies).map(([name, value]) => `${name}=${value}`);
    const headers: Record<string, string> = cookie.length > 0 ? { Cookie: cookie.join('; ') } : {};
    const answer = await edge.visit(this.host, this.path, headers);
    for (const line of answer.headers['set-cookie'] ?? []) this.keep(line);
    return answer.status === 200 ? answer.body : String(answer.status);
  }

  private keep(line: string): void {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (value === '') delete this.cookies[name];
    else this.cookies[name] = value;
  }

  async asks(times: number): Promise<ReadonlySet<string>> {
    const apps = new Set<string>();
    for (let time = 0; time < times; time += 1) apps.add(await this.ask());
    return apps;
  }
}

describe('a visitor with a cookie of examples/lab.yaml', () => {
  const all = ['backend-api-1', 'backend-api-2'];
  beforeEach(async () => {
    edge = await startExampleEdge('lab');
    await edge.untilUp(all);
  });

  it('stays on its instance, also through a reload, while visitors without one are spread over all', async () => {
    const visitors = [new Visitor('any.test', '/'), new Visitor('any.test', '/')];
    const first = [];
    for (const visitor of visitors) first.push(await visitor.ask());
    expect([...first].sort()).toEqual(all);
    for (const [index, visitor] of visitors.entries()) expect([...(await visitor.asks(10))]).toEqual([first[index]]);

    await edge.reload([], 2);
    for (const [index, visitor] of visitors.entries()) expect([...(await visitor.asks(10))]).toEqual([first[index]]);
  });

  it('is pinned to the other instance when its own dies, and stays there', async () => {
    const visitor = new Visitor('any.test', '/');
    const own = await visitor.ask();
    const other = all.find((name) => name !== own) ?? '';
    await edge.stopInstance(own);
    await vi.waitFor(async () => expect(await visitor.ask()).toBe(other), answersWithin);
    expect(visitor.cookies).toEqual({ SERVERID: other });

    await edge.untilDown([own]);
    await edge.startInstance(own);
    await edge.untilUp(all);
    expect([...(await visitor.asks(10))]).toEqual([other]);
  });

  it('is led to the other instance, and stays there, from the moment that its own is drained', async () => {
    const visitor = new Visitor('any.test', '/');
    const own = await visitor.ask();
    const other = all.find((name) => name !== own) ?? '';
    const { socket } = edge.applied.configuration.edge.files;
    const server = { backend: 'api_pool', server: own };
    await drainServer(socket, server);
    expect([...(await visitor.asks(10))]).toEqual([other]);
    await admitServer(socket, server);
    expect([...(await visitor.asks(10))]).toEqual([other]);
    await vi.waitFor(async () => expect(await new Visitor('any.test', '/').ask()).toBe(own), answersWithin);
  });
});

describe('a visitor with a cookie of examples/veza.yaml', () => {
  beforeEach(async () => {
    // Without the external site, the first check of which may come after 5 s and with it everybody else's.
    edge = await startExampleEdge('veza', { states: prodOn('blue'), change: (whole) => ({ ...whole, external: [] }) });
    await edge.untilUp(Object.keys(edge.applied.addresses));
  });

  it('goes to the new color after a switch, and back after the way back', async () => {
    const visitor = new Visitor('veza.fr', '/api/v1/x');
    expect(await visitor.ask()).toBe(blue);
    expect(Object.keys(visitor.cookies)).toEqual(['SERVERID_prod']);
    await edge.reload(prodOn('green'), 2);
    expect([...(await visitor.asks(10))]).toEqual([green]);
    await edge.reload(prodOn('blue'), 3);
    expect([...(await visitor.asks(10))]).toEqual([blue]);
  });

  it('goes to the standby when the new color dies, and comes back when it is up', async () => {
    const visitor = new Visitor('veza.fr', '/api/v1/x');
    await visitor.ask();
    await edge.reload(prodOn('green'), 2);
    expect(await visitor.ask()).toBe(green);

    await edge.stopInstance(green);
    await vi.waitFor(async () => expect(await visitor.ask()).toBe(blue), answersWithin);
    expect([...(await visitor.asks(10))]).toEqual([blue]);

    await edge.untilDown([green]);
    await edge.startInstance(green);
    await edge.untilUp([green]);
    expect([...(await visitor.asks(10))]).toEqual([green]);
  });

  it('of staging is a new one to prod, and keeps staging’s cookie', async () => {
    const staging = new Visitor('staging.veza.fr', '/api/v1/x');
    expect(await staging.ask()).toBe('veza-staging-backend-blue');
    expect(staging.cookies).toEqual({ SERVERID_staging: 's1' });

    // As a browser does where somebody set it for the whole domain.
    const prod = new Visitor('veza.fr', '/api/v1/x');
    prod.cookies = { ...staging.cookies };
    expect(await prod.ask()).toBe(blue);
    expect(prod.cookies).toEqual({ SERVERID_staging: 's1', SERVERID_prod: 's1' });
    const seen = edge.apps
      .get(blue)
      ?.requests.filter(({ path }) => path === '/api/v1/x')
      .at(-1);
    expect(seen?.headers.cookie).toBe('SERVERID_staging=s1');
  });

  it('shows the app nothing of it', async () => {
    const visitor = new Visitor('veza.fr', '/api/v1/x');
    await visitor.asks(2);
    const seen = edge.apps
      .get(blue)
      ?.requests.filter(({ path }) => path === '/api/v1/x')
      .at(-1);
    expect(seen?.headers).not.toHaveProperty('cookie');
  });
});
