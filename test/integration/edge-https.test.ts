import { once } from 'node:events';
import { connect } from 'node:tls';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Configuration } from '../../src/domain/configuration.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { type App, startApp } from '../rig/app.js';
import type { ask } from '../rig/ask.js';
import { writeCertificates } from '../rig/certificates.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';

const unrecognizedName = /unrecognized name.*alert number 112/;

let edge: ExampleEdge;
const https = () => {
  const { https: bind } = edge.applied.configuration.edge;
  if (!bind) throw new Error('no https');
  return bind;
};

describe('https', () => {
  beforeAll(async () => {
    edge = await startExampleEdge('veza', { change: withHsts });
    await writeCertificates(edge.certificates, [['staging.veza.fr']], 'rsa');
    await edge.reload([], 2);
  });
  afterAll(async () => await edge?.dispose());

  it.each([
    ['veza.fr', '-tls1_2', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['veza.fr', '-tls1_2', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    ['veza.fr', '-tls1_2', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
    ['staging.veza.fr', '-tls1_2', 'ECDHE-RSA-AES128-GCM-SHA256'],
    ['staging.veza.fr', '-tls1_2', 'ECDHE-RSA-AES256-GCM-SHA384'],
    ['staging.veza.fr', '-tls1_2', 'ECDHE-RSA-CHACHA20-POLY1305'],
    ['staging.veza.fr', '-tls1_2', 'DHE-RSA-AES128-GCM-SHA256'],
    ['staging.veza.fr', '-tls1_2', 'DHE-RSA-AES256-GCM-SHA384'],
    ['staging.veza.fr', '-tls1_2', 'DHE-RSA-CHACHA20-POLY1305'],
    ['veza.fr', '-tls1_3', 'TLS_AES_128_GCM_SHA256'],
    ['veza.fr', '-tls1_3', 'TLS_AES_256_GCM_SHA384'],
    ['veza.fr', '-tls1_3', 'TLS_CHACHA20_POLY1305_SHA256'],
  ])('of %s takes %s with %s, as Mozilla’s Intermediate does', async (host, version, cipher) => {
    expect(await handshake(host, version, cipher)).toMatch(new RegExp(`^New, TLSv1\\.[23], Cipher is ${cipher}$`, 'm'));
  });

  it.each([
    ['veza.fr', 'ECDHE-ECDSA-AES128-SHA256'],
    ['veza.fr', 'ECDHE-ECDSA-AES256-SHA'],
    ['staging.veza.fr', 'ECDHE-RSA-AES128-SHA256'],
    ['staging.veza.fr', 'DHE-RSA-AES256-SHA256'],
    ['staging.veza.fr', 'AES128-GCM-SHA256'],
    ['staging.veza.fr', 'AES256-SHA'],
  ])('of %s refuses %s', async (host, cipher) => {
    expect(await handshake(host, '-tls1_2', cipher)).toMatch(/alert handshake failure/);
  });

  it.each(['-tls1', '-tls1_1'])('refuses %s', async (version) => {
    expect(await handshake('veza.fr', version, 'ALL')).toMatch(/alert protocol version/);
  });

  it('is refused to who names a host without a certificate, or none', async () => {
    expect(await handshake('example.test', '-tls1_3')).toMatch(unrecognizedName);
    expect(await handshake(null, '-tls1_3')).toMatch(unrecognizedName);
  });

  it('speaks HTTP/2 with who can, and HTTP/1.1 with everybody else', async () => {
    expect(await protocolWith(['h2', 'http/1.1'])).toBe('h2');
    expect(await protocolWith(['http/1.1'])).toBe('http/1.1');
    expect(await protocolWith([])).toBe(false);
    expect(await edge.visit('veza.fr', '/')).toMatchObject({ status: 200, body: 'veza-web-blue' });
  });

  it('tells browsers to stay on it, over https alone', async () => {
    for (const [host, path] of [
      ['veza.fr', '/'],
      ['www.veza.fr', '/api/v1/x'],
      ['talas.fr', '/'],
    ] as const) {
      const { headers } = await edge.visit(host, path);
      expect(headers['strict-transport-security']).toBe('max-age=31536000; includeSubDomains');
      expect((await edge.ask(host, path)).headers).not.toHaveProperty('strict-transport-security');
    }
    expect((await edge.ask('forgejo.talas.group', '/')).headers).not.toHaveProperty('strict-transport-security');
  });
});

describe('a cookie', () => {
  it('is kept to https where http redirects every host of the environment, and only there', async () => {
    // www.veza.fr has no certificate here, so its visitors stay on http.
    edge = await startExampleEdge('veza', {
      change: (whole) => withDomains(whole, [['staging.veza.fr'], ['veza.fr']]),
    });
    try {
      const cookies = async (answer: ReturnType<typeof ask>) => (await answer).headers['set-cookie'] ?? [];
      expect(await cookies(edge.visit('staging.veza.fr', '/api/v1/x'))).toEqual([expect.stringMatching(/; Secure/i)]);
      const overHttp = await cookies(edge.ask('www.veza.fr', '/api/v1/x'));
      expect(overHttp).toEqual([expect.stringMatching(/^SERVERID_prod=s1; path=\/; HttpOnly; SameSite=Lax$/)]);
      expect(await cookies(edge.visit('veza.fr', '/api/v1/x'))).toEqual(overHttp);
    } finally {
      await edge.dispose();
    }
  });
});

describe('before there is any certificate', () => {
  it('the edge starts and serves http, and every TLS handshake is refused', async () => {
    edge = await startExampleEdge('veza', { hasCertificates: false });
    try {
      expect(await edge.ask('forgejo.talas.group', '/')).toMatchObject({ status: 200, body: 'forgejo' });
      expect(await handshake('veza.fr', '-tls1_3')).toMatch(unrecognizedName);
    } finally {
      await edge.dispose();
    }
  });
});

describe('challenges of the certificate’s authority', () => {
  const prefix = '/.well-known/acme-challenge';
  let challenge: App;
  beforeAll(async () => {
    challenge = await startApp('127.0.0.1', 0, 'challenge');
    const { address, port } = challenge;
    edge = await startExampleEdge('veza', { change: (whole) => withChallenge(whole, { address, port }) });
  });
  afterAll(async () => {
    await edge?.dispose();
    await challenge?.stop();
  });

  const hosts = ['veza.fr', 'WWW.veza.fr:80', 'staging.veza.fr', 'talas.fr', 'forgejo.talas.group', 'example.test', ''];
  const expectAnswers = async () => {
    for (const [index, host] of hosts.entries()) {
      const token = `Token-${index}_${challenge.requests.length}`;
      expect([host, await edge.ask(host, `${prefix}/${token}`)]).toMatchObject([
        host,
        { status: 200, body: 'challenge' },
      ]);
      expect(challenge.requests.at(-1)?.path).toBe(`/${token}`);
    }
  };

  it('reach their server over http, on every host and without the path’s prefix', expectAnswers);

  it('reach it over https too', async () => {
    expect(await edge.visit('veza.fr', `${prefix}/Token`)).toMatchObject({ status: 200, body: 'challenge' });
  });

  it('are not what only looks like one', async () => {
    const before = challenge.requests.length;
    for (const path of [prefix, `${prefix}x/Token`, `/x${prefix}/Token`, `/?${prefix}/Token`]) {
      expect((await edge.ask('veza.fr', path)).status).toBe(308);
    }
    expect(challenge.requests).toHaveLength(before);
  });

  it('reach it while every server of every pool is down', async () => {
    const names = Object.keys(edge.applied.addresses);
    for (const name of names) await edge.stopInstance(name);
    await edge.untilDown(names);
    expect((await edge.visit('veza.fr', '/')).status).toBe(503);
    await expectAnswers();
  });
});

describe('challenges that the edge answers itself', () => {
  const prefix = '/.well-known/acme-challenge';
  const token = 'DGyRejmCefe7v4NfDGDKfA_-0';
  // As that of one key of 64 begins.
  const thumbprint = '-n-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s';
  beforeAll(async () => {
    // staging.veza.fr and the names of talas.fr have no certificate yet.
    edge = await startExampleEdge('veza', { obtained: { thumbprint, present: ['veza.fr'] } });
  });
  afterAll(async () => await edge?.dispose());

  const hosts = ['veza.fr', 'WWW.veza.fr:80', 'staging.veza.fr', 'forgejo.talas.group', 'example.test', ''];
  const expectAnswers = async () => {
    for (const host of hosts) {
      const answer = await edge.ask(host, `${prefix}/${token}`);
      expect([host, answer]).toMatchObject([host, { status: 200, body: `${token}.${thumbprint}` }]);
    }
  };

  it('hold for every host, before any redirect', expectAnswers);

  it('are given over https too', async () => {
    expect(await edge.visit('veza.fr', `${prefix}/${token}`)).toMatchObject({
      status: 200,
      body: `${token}.${thumbprint}`,
    });
  });

  it.each([
    ['what is no token', `${prefix}/a.b`],
    ['a token and more', `${prefix}/${token}/x`],
    ['no token', `${prefix}/`],
    ['a way out', `${prefix}/../${token}`],
    ['a line feed', `${prefix}/a%0d%0aX-Evil:%20yes`],
  ])('are not given for %s', async (_, path) => {
    const { body, headers } = await edge.ask('staging.veza.fr', path);
    expect(body).not.toContain(thumbprint);
    expect(headers).not.toHaveProperty('x-evil');
  });

  it('hold while every server of every pool is down', async () => {
    const names = Object.keys(edge.applied.addresses);
    for (const name of names) await edge.stopInstance(name);
    await edge.untilDown(names);
    expect((await edge.visit('veza.fr', '/')).status).toBe(503);
    await expectAnswers();
  });

  it('come before a host’s certificate, to which http redirects only when it is there', async () => {
    expect((await edge.ask('veza.fr', '/')).status).toBe(308);
    expect((await edge.ask('www.veza.fr', '/')).status).toBe(308);
    expect((await edge.ask('staging.veza.fr', '/')).status).toBe(503);
    const { certificates: obtained, configuration } = edge.applied;
    expect(renderConfiguration(edge.applied, []).body).toContain('redirect');
    const none = { thumbprint: obtained?.thumbprint ?? '', present: [] };
    expect(renderConfiguration({ ...edge.applied, configuration, certificates: none }, []).body).not.toContain(
      'redirect location',
    );
  });
});

const withHsts = (whole: Configuration): Configuration => ({
  ...whole,
  edge: { ...whole.edge, hsts: { maxAgeDays: 365, includeSubdomains: true } },
});

const withDomains = (whole: Configuration, domains: readonly (readonly string[])[]): Configuration => ({
  ...whole,
  ...(whole.certificates && { certificates: { ...whole.certificates, domains } }),
});

const withChallenge = (whole: Configuration, server: { address: string; port: number }): Configuration => ({
  ...whole,
  ...(whole.certificates && { certificates: { ...whole.certificates, challenge: server } }),
});

/**
 * All that openssl says about a handshake, in which the client itself would take anything.
 *
 * @param host the name to ask for, null for none
 * @param cipher the only one to offer
 */
async function handshake(host: string | null, version: string, cipher?: string): Promise<string> {
  const { address, port } = https();
  const offered = version === '-tls1_3' ? ['-ciphersuites', cipher] : ['-cipher', `${cipher}:@SECLEVEL=0`];
  const { all } = await execa(
    'openssl',
    [
      ...['s_client', '-connect', `${address}:${port}`, version],
      ...(host === null ? ['-noservername'] : ['-servername', host]),
      ...(cipher === undefined ? [] : offered.map(String)),
    ],
    { all: true, reject: false, input: '', timeout: 10_000 },
  );
  return all;
}

async function protocolWith(offered: readonly string[]): Promise<string | false | null> {
  const { address: host, port } = https();
  const socket = connect({
    ...{ host, port, servername: 'veza.fr', ca: [...edge.trusted] },
    ...(offered.length > 0 && { ALPNProtocols: [...offered] }),
  });
  await once(socket, 'secureConnect', { signal: AbortSignal.timeout(10_000) });
  socket.destroy();
  return socket.alpnProtocol;
}
