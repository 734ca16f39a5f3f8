import { describe, expect, it } from 'vitest';
import { componentForPath, probePath } from '../../src/domain/routes.js';
import { component } from '../rig/applied.js';

const api = component('api', {
  routes: [{ prefix: '/api/v1' }],
  health: { path: '/api/v1/health', intervalMs: 1, fall: 1, rise: 1 },
});
const stream = component('stream', { routes: [{ prefix: '/tracks/' }, { prefix: '/api/v1/hls' }] });
const web = component('web', { isDefault: true });

describe('routes', () => {
  it.each([
    ['/api/v1', 'api'],
    ['/api/v1/', 'api'],
    ['/api/v1/users', 'api'],
    ['/api/v1x', 'web'],
    ['/api/v1/hls', 'stream'],
    ['/api/v1/hls/1.ts', 'stream'],
    ['/api/v1/hlsx', 'api'],
    ['/tracks/1', 'stream'],
    ['/tracks', 'web'],
    ['/', 'web'],
  ])('lead %s to %s', (path, name) => {
    expect(componentForPath([web, api, stream], path)?.name).toBe(name);
  });

  it('lead nowhere without a default component', () => {
    expect(componentForPath([api], '/')).toBeNull();
  });
});

describe('the path that a component is asked for through the edge', () => {
  it('is the health path where a route leads there', () => {
    expect(probePath(api, [web, api, stream])).toBe('/api/v1/health');
    expect(probePath(web, [web, api, stream])).toBe('/health');
  });

  it('is a prefix of its own where the health path leads elsewhere', () => {
    expect(probePath(stream, [web, api, stream])).toBe('/tracks/');
  });
});
