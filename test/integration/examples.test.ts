import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';

describe('examples/veza.yaml', () => {
  let edge: ExampleEdge;
  beforeAll(async () => {
    edge = await startExampleEdge('veza');
  });
  afterAll(async () => await edge?.dispose());

  it('sends a host without a certificate to its own server, over http', async () => {
    expect(await edge.ask('forgejo.talas.group', '/')).toMatchObject({ status: 200, body: 'forgejo' });
  });

  it('redirects every host with a certificate to https, whatever case and port it was asked with', async () => {
    const { port } = edge.applied.configuration.edge.https ?? { port: 0 };
    for (const host of ['veza.fr', 'www.veza.fr:80', 'STAGING.veza.fr', 'talas.fr.']) {
      const name = host.toLowerCase().replace(/:80$|\.$/, '');
      expect(await edge.ask(host, '/a?b=c')).toMatchObject({
        status: 308,
        headers: { location: `https://${name}:${port}/a?b=c` },
      });
    }
  });
});

describe('examples/lab.yaml', () => {
  let edge: ExampleEdge;
  beforeAll(async () => {
    edge = await startExampleEdge('lab');
  });
  afterAll(async () => await edge?.dispose());

  it('sends every host to its pools', async () => {
    expect((await edge.ask('any.test', '/api/v1/users')).body).toMatch(/^backend-api-[12]$/);
    expect((await edge.ask('', '/tracks/1/a.m3u8')).body).toMatch(/^stream-server-[12]$/);
    expect((await edge.ask('any.test', '/tracks/1/a.mp3')).body).toMatch(/^backend-api-[12]$/);
  });
});
