import { execa } from 'execa';
import { afterEach, expect, it } from 'vitest';
import type { Color } from '../../src/domain/edge-state.js';
import { diffConfigurations } from '../../src/haproxy/diff.js';
import { parseInstalledConfiguration, stampConfiguration } from '../../src/haproxy/header.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { type App, startApp } from '../rig/app.js';
import { largeEnvironments as environments, largeConfiguration, stateOf } from '../rig/applied.js';
import { ask } from '../rig/ask.js';
import { type Haproxy, haproxyPlaces, startHaproxy } from '../rig/haproxy.js';

const components = 200;

let haproxy: Haproxy;
let apps: App[];
afterEach(async () => {
  await haproxy.stop();
  await Promise.all(apps.map((app) => app.stop()));
});

it('200 components in two environments are valid, run, and lead each route to its server; a switch changes two lines a pool', async () => {
  const places = await haproxyPlaces();
  const applied = await largeConfiguration(components, places.socket);
  const { http } = applied.configuration.edge;
  const text = (color: Color, generation: number) => {
    const states = environments.map((name) => stateOf(name, name === 'prod' ? color : 'blue', { hasStandby: true }));
    const rendered = renderConfiguration(applied, states);
    return stampConfiguration(rendered, { project: 'demo', generation, probe: 'random', states, version: '0.0.0' });
  };
  apps = [];
  for (const color of ['blue', 'green']) {
    const name = `demo-prod-c${components - 1}-${color}`;
    const place = applied.addresses[name];
    if (!place) throw new Error(`no address for ${name}`);
    apps.push(await startApp(place.address, place.port, name));
  }

  haproxy = await startHaproxy(places, text('blue', 1));
  await execa('haproxy', ['-c', '-f', places.config]);
  const proof = parseInstalledConfiguration(text('blue', 1))?.headerDigest;
  expect(await readRunning(places.socket)).toMatchObject({ generation: 1, digest: proof });
  const last = `/c${components - 1}/a`;
  expect(await ask(http, 'prod.localhost', last)).toMatchObject({ status: 200, body: expect.stringMatching(/-blue$/) });

  await haproxy.reload(text('green', 2));
  expect(await readRunning(places.socket)).toMatchObject({ generation: 2 });
  expect(await ask(http, 'prod.localhost', last)).toMatchObject({
    status: 200,
    body: expect.stringMatching(/-green$/),
  });

  const changed = diffConfigurations(text('blue', 1), text('green', 2))
    .split('\n')
    .filter((line) => /^[+-] /.test(line));
  const isOfProd = (line: string) => /^[+-] +server demo-prod-c\d+-(?:blue|green) /.test(line);
  expect(changed.filter((line) => !isOfProd(line))).toEqual([]);
  for (const sign of ['+', '-']) {
    expect(changed.filter((line) => line.startsWith(sign))).toHaveLength(2 * components);
  }
});
