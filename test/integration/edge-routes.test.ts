import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Color, colors, otherColor } from '../../src/domain/edge-state.js';
import { backendName, instanceName } from '../../src/domain/names.js';
import { stateOf } from '../rig/applied.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { type RouteRow, routeTable, routeTableMarkdown } from './rig/route-table.js';
import { askRow } from './rig/route-visitor.js';

const statesWith = (prod: Color) => [
  stateOf('staging', otherColor(prod), { hasStandby: true }),
  stateOf('prod', prod, { hasStandby: true }),
];

describe.each(['blue', 'green'] as const)(
  'examples/veza.yaml, with prod on %s and staging on the other color',
  (prod) => {
    let edge: ExampleEdge;
    beforeAll(async () => {
      edge = await startExampleEdge('veza', { states: statesWith(prod) });
    });
    afterAll(async () => await edge?.dispose());

    it.each(routeTable.map((row) => [titleOf(row), row] as const))('%s', async (_title, row) => {
      const seenBefore = requestsSeen(edge);
      const answer = await askRow(edge, row);
      const app = appOf(edge, row.answer, prod);
      if (app !== null) {
        expect(answer).toMatchObject({ status: 200, headers: { 'x-app': app } });
        expect(edge.apps.get(app)?.requests).toContainEqual(asked(row));
        return;
      }
      expect(answer).toMatchObject(ownAnswer(row, edge));
      expect(requestsSeen(edge)).toBe(seenBefore);
    });

    it('no host of the table reaches an app of an environment that does not have it, on any path', async () => {
      const hosts = [...new Set(routeTable.map(({ host }) => host))];
      for (const { host, target } of hosts.flatMap((host) => paths.map((target) => ({ host, target })))) {
        const answer = await askRow(edge, { over: 'https', method: 'GET', host, target, answer: '' });
        expect([host, environmentOf(edge, answer?.headers['x-app'])]).toEqual([host, ownerOf(edge, host)]);
      }
    });
  },
);

it('the table of docs/routing.md is the one that is tested', async () => {
  const page = await readFile(new URL('../../docs/routing.md', import.meta.url), 'utf8');
  expect(page).toContain(routeTableMarkdown(routeTable));
  expect(routeTable.length).toBeGreaterThanOrEqual(60);
});

const titleOf = ({ over, method, host, target, answer }: RouteRow): string =>
  `${over}: ${method} ${target} of ${host === '' ? 'an empty host' : (host ?? 'no host')}: ${answer}`;

const paths = ['/', '/api/v1/x', '/hls/1', '/tracks/1/a.ts'];

/** The environment that has a host, by the names of the configuration alone. */
function ownerOf({ applied }: ExampleEdge, host: string | null): string | null {
  const name = (host ?? '').toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '');
  return applied.configuration.environments.find(({ hosts }) => hosts.includes(name))?.name ?? null;
}

/** The environment whose instance an app is. */
function environmentOf({ applied }: ExampleEdge, app: unknown): string | null {
  const { environments, components } = applied.configuration;
  const instances = environments.flatMap((environment) =>
    components.flatMap(({ name }) =>
      colors.map((color) => ({ environment: environment.name, instance: instanceName(environment, name, color) })),
    ),
  );
  return instances.find(({ instance }) => instance === app)?.environment ?? null;
}

/** The app of a pool's active color, or of an external site; null where the edge itself answers. */
function appOf({ applied }: ExampleEdge, answer: string, prod: Color): string | null {
  if (answer === 'forgejo_backend') return 'forgejo';
  const { environments, components } = applied.configuration;
  for (const environment of environments) {
    const color = environment.name === 'prod' ? prod : otherColor(prod);
    for (const { name, pool } of components) {
      if (backendName(environment.name, pool) === answer) return instanceName(environment, name, color);
    }
  }
  return null;
}

/** A request as the app saw it: its method and its target as they were sent. */
const asked = ({ method, target }: RouteRow) => expect.objectContaining({ method, path: target });

/** What the edge says where no app is asked. */
function ownAnswer({ answer, method }: RouteRow, { applied }: ExampleEdge) {
  switch (answer) {
    case 'default_503':
      return { status: 503, body: 'Unknown host.\n' };
    case 'talas_backend':
      return { status: 503, body: expect.stringContaining('<h1>talas.fr</h1>') };
    case '405':
      return { status: 405, headers: { allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' } };
    default: {
      const [status, location] = answer.split(' ');
      if (!/^\d{3}$/.test(status ?? '')) throw new Error(`nothing answers ${method} as ${answer}`);
      // The edge under test serves https on a port of its own, which the redirect names.
      const port = applied.configuration.edge.https?.port;
      const moved = location?.replace(/^https:\/\/[^/]+/, (origin) => `${origin}:${port}`);
      return { status: Number(status), ...(moved && { headers: { location: moved } }) };
    }
  }
}

/** Requests that any app has had from a visitor. */
const requestsSeen = ({ apps }: ExampleEdge): number =>
  [...apps.values()].flatMap(({ requests }) => requests.filter(isVisitor)).length;

const isVisitor = ({ headers }: { readonly headers: Readonly<Record<string, unknown>> }): boolean =>
  'x-request-id' in headers;
