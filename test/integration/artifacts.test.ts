import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import {
  appendFile,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { create, Header } from 'tar';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ArtifactsConfiguration } from '../../src/domain/configuration.js';
import { mayCarryToken } from '../../src/domain/token-origin.js';
import {
  type ArtifactPin,
  fetchArtifact,
  pinArtifact,
  probeArtifact,
  pruneArtifacts,
} from '../../src/instances/artifact.js';
import { checkArtifact, unpackArtifact } from '../../src/instances/unpack.js';
import { readVersion } from '../../src/version.js';
import { makeServerCertificate } from '../rig/pebble.js';

const names = { component: 'api', environment: 'prod', sha: 'aaaaaaa1' };
const content = Buffer.concat([entry({ path: 'readme' }, 'what it is made of\n'.repeat(1_000)), Buffer.alloc(1_024)]);
const digest = sha256(content);
const noSecret = async () => {
  throw new Error('no secret is asked for');
};

let folder: string;
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-'));
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

describe('pruning', () => {
  test('keeps what was used last, what was used within the hour, and what is being fetched', async () => {
    const hoursAgo = async (name: string, hours: number) => {
      const at = new Date(Date.now() - hours * 3_600_000);
      await writeFile(join(folder, name), name);
      await utimes(join(folder, name), at, at);
    };
    await Promise.all([
      hoursAgo('newest', 2),
      hoursAgo('newer', 3),
      hoursAgo('old', 4),
      hoursAgo('older', 5),
      hoursAgo('old.partial-1', 5),
    ]);
    await pruneArtifacts(folder, 2);
    expect((await readdir(folder)).toSorted()).toEqual(['newer', 'newest', 'old.partial-1']);
    await hoursAgo('of a deploy that runs', 0.5);
    await pruneArtifacts(folder, 0);
    expect((await readdir(folder)).toSorted()).toEqual(['of a deploy that runs', 'old.partial-1']);
  });

  test('an artifact that is used again counts as new', async () => {
    const artifacts = await onDisk({ checksum: digest });
    const pin = await pinArtifact(artifacts, names, noSecret);
    const file = join(folder, 'artifacts', digest);
    await fetchArtifact(pin, file, artifacts, noSecret);
    const longAgo = new Date('2020-01-01');
    await utimes(file, longAgo, longAgo);
    await fetchArtifact(pin, file, artifacts, noSecret);
    await pruneArtifacts(join(folder, 'artifacts'), 0);
    expect(await readdir(join(folder, 'artifacts'))).toEqual([digest]);
  });
});

describe('pinning', () => {
  test.each([
    ['alone', digest],
    ['as sha256sum prints it', `${digest}  api-aaaaaaa1.tar.gz\n`],
    ['of a binary file, in upper case', `${digest.toUpperCase()} *api-aaaaaaa1.tar.gz\r\n`],
    ['among those of other files', `${'0'.repeat(64)}  other\n${digest}  ./api-aaaaaaa1.tar.gz\n`],
  ])('takes the checksum from its file: %s', async (_, text) => {
    const artifacts = await onDisk({ checksum: text });
    const { url, sha256 } = await pinArtifact(artifacts, names, noSecret);
    expect({ url, sha256 }).toEqual({ url: pathToFileURL(join(folder, 'api-aaaaaaa1.tar.gz')).href, sha256: digest });
  });

  test.each(['', 'not a checksum', `${digest}0`, '<html></html>'])(
    'refuses a checksum file that says %j',
    async (text) => {
      await expect(pinArtifact(await onDisk({ checksum: text }), names, noSecret)).rejects.toMatchObject({
        code: 'artifact-checksum-unreadable',
      });
    },
  );

  test('digests the artifact itself where there is no checksum file', async () => {
    const { checksum: _, ...artifacts } = await onDisk({});
    expect(await pinArtifact(artifacts, names, noSecret)).toMatchObject({ sha256: digest, size: content.length });
  });

  test.each(['with', 'without'])('says that there is no such artifact, %s a checksum file', async (how) => {
    const { checksum, ...artifacts } = await onDisk({});
    const wanted = how === 'with' && checksum ? { ...artifacts, checksum } : artifacts;
    await expect(pinArtifact(wanted, { ...names, sha: 'bbbbbbb2' }, noSecret)).rejects.toMatchObject({
      code: 'artifact-not-found',
      isRetryable: false,
    });
  });
});

describe('fetching', () => {
  test('stores a file: artifact whole, and takes the one that is there the next time', async () => {
    const artifacts = await onDisk({});
    const pin = await pinArtifact(artifacts, names, noSecret);
    const file = join(folder, 'fetched', 'artifact');
    const seen: number[] = [];
    await fetchArtifact(pin, file, artifacts, noSecret, { onProgress: (bytes) => seen.push(bytes) });
    expect(sha256(await readFile(file))).toBe(digest);
    expect(seen.at(-1)).toBe(content.length);
    await rm(join(folder, 'api-aaaaaaa1.tar.gz'));
    await fetchArtifact(pin, file, artifacts, noSecret);
  });

  test.each([
    [401, 'artifact-unauthorized', false],
    [403, 'artifact-unauthorized', false],
    [404, 'artifact-not-found', false],
    [500, 'artifact-unreachable', true],
    [503, 'artifact-unreachable', true],
  ])('a %d of the server is %s', async (status, code, isRetryable) => {
    const artifacts = {
      ...remote(await serve((_, response) => response.writeHead(status).end())),
      token: { env: 'TOKEN' },
    };
    const failing = pinArtifact(artifacts, names, async () => 'secret');
    await expect(failing).rejects.toMatchObject({ code, isRetryable });
    const { message, remedy } = (await failing.catch((error: unknown) => error)) as { message: string; remedy: string };
    expect(`${message}${remedy}`).not.toContain('secret');
    if (code === 'artifact-unauthorized') expect(message).toContain('the environment variable TOKEN');
  });

  test('a server that is not there is unreachable', async () => {
    const base = await serve(() => {});
    servers.pop()?.close();
    await expect(pinArtifact(remote(base), names, noSecret)).rejects.toMatchObject({
      code: 'artifact-unreachable',
      isRetryable: true,
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('a server that never ends its answer is unreachable after the time limit', async () => {
    const base = await serve((_, response) => response.writeHead(200).write('begin'));
    await expect(pinArtifact({ ...remote(base), timeoutMs: 300 }, names, noSecret)).rejects.toMatchObject({
      code: 'artifact-unreachable',
      message: expect.stringContaining('0.3 s'),
    });
  });

  test('a redirect in a circle is unreachable', async () => {
    const base = await serve((_, response) => response.writeHead(302, { location: '/' }).end());
    await expect(pinArtifact(remote(base), names, noSecret)).rejects.toMatchObject({ code: 'artifact-unreachable' });
  });

  test('a connection that breaks off is told, and leaves nothing behind', async () => {
    const base = await serve((_, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 100), () => response.destroy());
    });
    const file = join(folder, 'fetched', 'artifact');
    await expect(fetchArtifact(pinOf(base), file, remote(base), noSecret)).rejects.toMatchObject({
      code: 'artifact-truncated',
      isRetryable: true,
    });
    expect(await readdir(join(folder, 'fetched'))).toEqual([]);
  });

  test('another content than the pinned one is refused, and leaves nothing behind', async () => {
    const base = await serve((_, response) => response.end('other'));
    const file = join(folder, 'fetched', 'artifact');
    await expect(fetchArtifact(pinOf(base), file, remote(base), noSecret)).rejects.toMatchObject({
      code: 'artifact-wrong-checksum',
      isRetryable: false,
    });
    expect(await readdir(join(folder, 'fetched'))).toEqual([]);
  });

  test.each(['that says its length', 'that does not'])(
    'a too large one is given up on, from a server %s',
    async (how) => {
      const base = await serve((_, response) => {
        if (how === 'that says its length') response.setHeader('content-length', content.length);
        response.write(content.subarray(0, 1));
        response.end(content.subarray(1));
      });
      const small = { ...remote(base), maxBytes: 1_000 };
      await expect(pinArtifact(small, names, noSecret)).rejects.toMatchObject({ code: 'artifact-too-large' });
    },
  );

  test('the caller can stop it', async () => {
    const stop = new AbortController();
    const base = await serve((_, response) => {
      response.writeHead(200).write('begin');
      stop.abort(new Error('stopped as asked'));
    });
    await expect(pinArtifact(remote(base), names, noSecret, stop.signal)).rejects.toThrow('stopped as asked');
  });
});

/** Asks for an artifact in each way in which Bascule does. */
const requests = {
  'the artifact, to pin it': (artifacts: ArtifactsConfiguration) => pinArtifact(artifacts, names, givenToken),
  'the artifact, to fetch it': (artifacts: ArtifactsConfiguration) => {
    const url = artifacts.url.replace('{sha}', names.sha);
    return fetchArtifact({ ...names, url, sha256: digest }, join(folder, 'fetched'), artifacts, givenToken);
  },
  'the artifact, to see that it is there': (artifacts: ArtifactsConfiguration) =>
    probeArtifact(artifacts, names, givenToken),
  'its checksum': (artifacts: ArtifactsConfiguration) =>
    pinArtifact({ ...artifacts, checksum: '{url}.sha256' }, names, givenToken),
};
const givenToken = async () => 'token';

describe('the token', () => {
  test.each(Object.entries(requests))('goes with the request for %s, and to no other server', async (_, ask) => {
    const asked: Record<string, (string | undefined)[]> = { own: [], other: [] };
    const answer = (url = '') => (url.endsWith('.sha256') ? digest : content);
    const other = await serve((request, response) => {
      asked.other?.push(request.headers.authorization);
      response.end(answer(request.url));
    });
    const own = await serve((request, response) => {
      asked.own?.push(request.headers.authorization);
      if (!request.url?.startsWith('/again')) response.writeHead(302, { location: `/again${request.url}` }).end();
      else response.writeHead(307, { location: `${other}${request.url}` }).end();
    });
    await ask({ ...remote(own), token: { env: 'TOKEN' } });
    expect(asked).toEqual({ own: ['Bearer token', 'Bearer token'], other: [undefined] });
  });

  test('goes to no other server that has the checksum, which says so', async () => {
    const asked: (string | undefined)[] = [];
    const other = await serve((request, response) => {
      asked.push(request.headers.authorization);
      response.writeHead(401).end();
    });
    const artifacts = { ...remote(await serve(() => {})), checksum: `${other}/{sha}`, token: { env: 'TOKEN' } };
    await expect(pinArtifact(artifacts, names, givenToken)).rejects.toMatchObject({
      ...{
        code: 'artifact-unauthorized',
        message: expect.stringContaining(`at ${other}, to which the token is not sent`),
      },
      remedy: expect.stringContaining('the origin of `artifacts.url` alone'),
    });
    expect(asked).toEqual([undefined]);
  });

  test.each([
    ['https://registry.example/x', true],
    ['http://registry.example/x', false],
    ['http://10.0.0.1/x', false],
    ['http://127.example/x', false],
    ['http://localhost.example/x', false],
    ['http://127.0.0.1:80/x', true],
    ['http://localhost/x', true],
    ['http://[::1]/x', true],
  ])('may go to %s: %s', (url, expected) => {
    expect(mayCarryToken(new URL(url))).toBe(expected);
  });

  test('goes nowhere for a pin that the configuration cannot make: nobody is asked', async () => {
    let asked = 0;
    const other = await serve((_, response) => {
      asked += 1;
      response.end(content);
    });
    const own = { ...remote(await serve(() => {})), token: { env: 'TOKEN' } };
    const file = join(folder, 'fetched');
    for (const pin of [
      pinOf(other),
      { ...pinOf('http://127.0.0.1:1'), sha: 'bbbbbbb2' },
      pinOf(own.url.slice(0, -6), '/../x'),
    ]) {
      await expect(fetchArtifact(pin, file, own, givenToken)).rejects.toMatchObject({
        ...{ code: 'artifact-not-configured', isRetryable: false },
      });
    }
    const anywhere = { ...own, url: `${other.replace('127.0.0.1', '{sha}')}/x` };
    const evil = { ...names, sha: '127.0.0.1' };
    for (const ask of [pinArtifact, probeArtifact]) {
      await expect(ask(anywhere, evil, givenToken)).rejects.toMatchObject({ code: 'artifact-not-configured' });
    }
    expect(asked).toBe(0);
  });
});

describe('a server', () => {
  test.each(Object.entries(requests))('is told by %s who asks', async (_, ask) => {
    const agents: unknown[] = [];
    const base = await serve((request, response) => {
      agents.push(request.headers['user-agent']);
      response.end(request.url?.endsWith('.sha256') ? digest : content);
    });
    await ask(remote(base));
    expect(agents).toEqual([`bascule/${readVersion()}`]);
  });

  test('whose authority is unknown is trusted by `artifacts.caFile` alone', async () => {
    const { base, caFile } = await serveByTls();
    const unknown = pinArtifact(remote(base), names, noSecret);
    await expect(unknown).rejects.toMatchObject({
      ...{ code: 'artifact-server-untrusted', isRetryable: false },
      remedy: expect.stringContaining('`artifacts.caFile`'),
    });
    expect(await pinArtifact({ ...remote(base), caFile }, names, noSecret)).toMatchObject({ sha256: digest });
    const other = pinArtifact({ ...remote(base.replace('127.0.0.1', '127.0.0.2')), caFile }, names, noSecret);
    await expect(other).rejects.toMatchObject({
      ...{ code: 'artifact-server-untrusted', remedy: expect.stringContaining('by a name that its certificate has') },
    });
  });

  test.each([
    ['is not there', null],
    ['holds no certificate', 'nothing'],
  ])('is not asked where that file %s', async (_, text) => {
    const caFile = join(folder, 'roots.pem');
    if (text !== null) await writeFile(caFile, text);
    await expect(pinArtifact({ ...remote('https://127.0.0.1:1'), caFile }, names, noSecret)).rejects.toMatchObject({
      ...{ code: 'artifact-ca-file-unreadable', isRetryable: false, message: expect.stringContaining(caFile) },
    });
  });

  test('is asked through the proxy of the environment, and directly where it needs none', async () => {
    const { base, caFile } = await serveByTls();
    const asked: string[] = [];
    const proxy = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.end(content);
    });
    proxy.on('connect', (request: IncomingMessage, socket: Socket) => {
      asked.push(`CONNECT ${request.url}`);
      const to = connect(Number(new URL(base).port), '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      for (const [one, other] of [
        [socket, to],
        [to, socket],
      ] as const)
        one.on('error', () => undefined).pipe(other);
    });
    const through = await listenOn(proxy);
    const before = { ...process.env };
    Object.assign(process.env, { HTTPS_PROXY: through, HTTP_PROXY: through, NO_PROXY: 'direct.invalid' });
    try {
      await pinArtifact({ ...remote('https://localhost.example'), caFile }, names, noSecret).catch(() => undefined);
      await pinArtifact(remote('http://registry.example'), names, noSecret);
      // Loopback is never behind a proxy, and neither is what NO_PROXY names.
      await pinArtifact({ ...remote(base), caFile }, names, noSecret);
      await expect(pinArtifact(remote('http://direct.invalid'), names, noSecret)).rejects.toMatchObject({
        code: 'artifact-unreachable',
      });
    } finally {
      for (const name of ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY']) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
    expect(asked).toEqual(['CONNECT localhost.example:443', `GET http://registry.example/${names.sha}`]);
  });
});

describe('what comes in place of an artifact is shown', () => {
  const page = '\u001b[2J\r\n<!doctype html>\u0007\n<title>Log in</title>';
  const answers = 'text/html; charset=utf-8, 44 bytes, beginning with "<!doctype html>"';
  const servePage = (text = page) =>
    serve((_, response) => response.setHeader('content-type', 'text/html; charset=utf-8').end(text));

  test.each([
    ['without a checksum', sha256(Buffer.from(page)), 'artifact-not-a-tar'],
    ['with the checksum of another file', digest, 'artifact-wrong-checksum'],
  ])('%s', async (_, pinned, code) => {
    const artifacts = { ...remote(await servePage()), url: `${await servePage()}/{sha}?key=secret` };
    const url = artifacts.url.replace('{sha}', names.sha).replace('key=secret', '…');
    const fetching = fetchArtifact({ ...names, url, sha256: pinned }, join(folder, 'to', 'x'), artifacts, noSecret);
    await expect(fetching).rejects.toMatchObject({ code, isRetryable: false });
    const { message, remedy } = (await fetching.catch((error: unknown) => error)) as Error & { remedy: string };
    expect(message).toContain(answers);
    expect(message).toContain(url);
    expect(remedy).toContain('login');
    expect(`${message}${remedy}`).not.toContain('secret');
    expect(await readdir(join(folder, 'to'))).toEqual([]);
  });

  test('where a checksum should be', async () => {
    const artifacts = { ...remote(await serve(() => {})), checksum: `${await servePage()}/{sha}` };
    await expect(pinArtifact(artifacts, names, noSecret)).rejects.toMatchObject({
      ...{ code: 'artifact-checksum-unreadable', message: expect.stringContaining(answers) },
    });
  });

  test.each([
    ['', '0 bytes'],
    ['PK\u0003\u0004', 'a zip archive'],
    ['\u00fd7zXZ', 'an archive compressed by xz'],
    ['a\u0000b', 'not a text'],
    [`${'x'.repeat(200)}`, `beginning with "${'x'.repeat(100)}"`],
  ])('%j', async (text, expected) => {
    const bytes = Buffer.from(text, 'latin1');
    const artifacts = remote(await serve((_, response) => response.end(bytes)));
    const pin = await pinArtifact(artifacts, names, noSecret);
    await expect(fetchArtifact(pin, join(folder, 'x'), artifacts, noSecret)).rejects.toMatchObject({
      ...{ code: 'artifact-not-a-tar', message: expect.stringContaining(expected) },
    });
  });

  test('and an archive that cannot be unpacked is told when it is fetched, by its URL', async () => {
    const bytes = await readFile(await archive([entry({ path: 'null', type: 'CharacterDevice' })]));
    const artifacts = remote(await serve((_, response) => response.end(bytes)));
    const pin = await pinArtifact(artifacts, names, noSecret);
    await expect(fetchArtifact(pin, join(folder, 'to', 'x'), artifacts, noSecret)).rejects.toMatchObject({
      ...{ code: 'artifact-hostile', args: { file: pin.url, entry: 'null' } },
    });
    expect(await readdir(join(folder, 'to'))).toEqual([]);
  });
});

describe('unpacking', () => {
  test.each(['tar', 'gzip', 'zstd'])('tells %s by its content and not by its name', async (compression) => {
    await mkdir(join(folder, 'content', 'bin'), { recursive: true });
    await writeFile(join(folder, 'content', 'bin', 'run'), content, { mode: 0o755 });
    const file = join(folder, 'artifact');
    await create({ cwd: join(folder, 'content'), file, gzip: compression === 'gzip' }, ['.']);
    if (compression === 'zstd') await execa('zstd', ['-q', '--rm', file, '-o', `${file}.zst`]);
    await unpackArtifact(compression === 'zstd' ? `${file}.zst` : file, join(folder, 'release'));
    expect(await readFile(join(folder, 'release', 'bin', 'run'))).toEqual(content);
    expect((await stat(join(folder, 'release', 'bin', 'run'))).mode & 0o7777).toBe(0o755);
  });

  test('takes a folder that is there already', async () => {
    await mkdir(join(folder, 'release'));
    await unpackArtifact(join(folder, 'no such file'), join(folder, 'release'));
  });

  test('keeps links that stay inside, and drops setuid bits', async () => {
    const file = await archive([
      entry({ path: 'bin/', type: 'Directory' }),
      entry({ path: 'bin/run', mode: 0o6755 }, 'content'),
      entry({ path: 'bin/also', type: 'Link', linkpath: 'bin/run' }),
      entry({ path: 'current', type: 'SymbolicLink', linkpath: './bin/../bin/run' }),
    ]);
    await unpackArtifact(file, join(folder, 'release'));
    expect(await readFile(join(folder, 'release', 'current'), 'utf8')).toBe('content');
    expect(await readFile(join(folder, 'release', 'bin', 'also'), 'utf8')).toBe('content');
    expect((await lstat(join(folder, 'release', 'bin', 'run'))).mode & 0o7000).toBe(0);
  });

  const softLink = (path: string, linkpath: string) => entry({ path, type: 'SymbolicLink', linkpath });
  test.each<[string, Buffer[], string]>([
    ['an absolute path', [entry({ path: '/tmp/bascule-evil' }, 'x')], '/tmp/bascule-evil'],
    ['a path that leads up', [entry({ path: 'a/../../evil' }, 'x')], 'a/../../evil'],
    ['an absolute link', [softLink('passwd', '/etc/passwd')], 'passwd'],
    ['a link that leads up', [softLink('up', '..')], 'up'],
    ['a file through a link', [softLink('here', '.'), entry({ path: 'here/evil' }, 'x')], 'here/evil'],
    ['a file in place of a link', [softLink('evil', 'target'), entry({ path: 'evil' }, 'x')], 'evil'],
    [
      'a link that leads out through a later link',
      [entry({ path: 'a/b/', type: 'Directory' }), softLink('a/b/out', 'up/../../x'), softLink('a/b/up', '../..')],
      'a/b/out',
    ],
    ['links in a circle', [softLink('one', 'two'), softLink('two', 'one')], 'two'],
    ['a hard link to outside', [entry({ path: 'hard', type: 'Link', linkpath: '../victim' })], 'hard'],
    ['a hard link to an absolute path', [entry({ path: 'hard', type: 'Link', linkpath: '/etc/passwd' })], 'hard'],
    ['a hard link to a link', [softLink('a', 'b'), entry({ path: 'x/hard', type: 'Link', linkpath: 'a' })], 'x/hard'],
    ['a device', [entry({ path: 'null', type: 'CharacterDevice' })], 'null'],
    ['a block device', [entry({ path: 'disk', type: 'BlockDevice' })], 'disk'],
    ['a pipe', [entry({ path: 'pipe', type: 'FIFO' })], 'pipe'],
  ])('refuses the whole artifact for %s, and leaves nothing behind', async (_, entries, named) => {
    await writeFile(join(folder, 'victim'), 'untouched');
    const file = await archive([entry({ path: 'good' }, 'good'), ...entries, entry({ path: 'after' }, 'after')]);
    await expect(unpackArtifact(file, join(folder, 'into', 'release'))).rejects.toMatchObject({
      code: 'artifact-hostile',
      args: { entry: named },
    });
    expect(await readdir(join(folder, 'into'))).toEqual([]);
    expect((await readdir(folder)).sort()).toEqual(['artifact', 'into', 'victim']);
    expect(await readFile(join(folder, 'victim'), 'utf8')).toBe('untouched');
    expect((await stat(join(folder, 'victim'))).nlink).toBe(1);
    expect(existsSync('/tmp/bascule-evil')).toBe(false);
  });

  test('refuses too many entries', async () => {
    const file = await archive(Array.from({ length: 20 }, (_, index) => entry({ path: `file-${index}` }, 'x')));
    await expect(unpackArtifact(file, join(folder, 'release'), { maxEntries: 10 })).rejects.toMatchObject({
      code: 'artifact-hostile',
    });
    expect(existsSync(join(folder, 'release'))).toBe(false);
  });

  test('gives up on what unpacks to too much', async () => {
    const file = await archive([entry({ path: 'bomb' }, '\0'.repeat(5_000_000))], gzipSync);
    await expect(
      unpackArtifact(file, join(folder, 'release'), { maxBytes: 1_000_000, maxEntries: 10 }),
    ).rejects.toMatchObject({
      code: 'artifact-too-large',
    });
    expect(await readdir(folder)).toEqual(['artifact']);
  });

  test('does not decompress twice', async () => {
    const file = await archive([entry({ path: 'bomb' }, 'x')], (bytes) => gzipSync(gzipSync(bytes)));
    await expect(unpackArtifact(file, join(folder, 'release'))).rejects.toMatchObject({ code: 'artifact-not-a-tar' });
  });

  test.each<[string, Buffer, string]>([
    ['text', Buffer.from('not an archive '.repeat(100)), 'artifact-not-a-tar'],
    ['compressed text', gzipSync('not an archive '.repeat(100)), 'artifact-not-a-tar'],
    ['an empty file', Buffer.alloc(0), 'artifact-not-a-tar'],
    ['an archive without entries', Buffer.alloc(10_240), 'artifact-not-a-tar'],
    ['a page of a web server', gzipSync('<html></html>'), 'artifact-not-a-tar'],
    ['a tar that was cut off', entry({ path: 'cut' }, 'x'.repeat(5_000)).subarray(0, 2_000), 'artifact-damaged'],
    [
      'a tar.gz that was cut off',
      gzipSync(entry({ path: 'cut' }, digest.repeat(500))).subarray(0, 60),
      'artifact-damaged',
    ],
  ])('says what is wrong with %s', async (_, bytes, code) => {
    const file = join(folder, 'artifact');
    await writeFile(file, bytes);
    await expect(unpackArtifact(file, join(folder, 'release'))).rejects.toMatchObject({ code });
    expect(await readdir(folder)).toEqual(['artifact']);
  });

  test('a tar.zst that was cut off is damaged', async () => {
    const whole = await archive([entry({ path: 'cut' }, createHash('sha512').update('x').digest('hex').repeat(500))]);
    const { stdout } = await execa('zstd', ['-qc', whole], { encoding: 'buffer' });
    await writeFile(join(folder, 'cut'), stdout.subarray(0, -20));
    await expect(unpackArtifact(join(folder, 'cut'), join(folder, 'release'))).rejects.toMatchObject({
      code: 'artifact-damaged',
    });
  });
});

describe('an archive is unpacked whole', () => {
  test.each(['gnu', 'oldgnu', 'posix', 'ustar', 'v7'])('as tar writes it, format %s', async (format) => {
    const content = join(folder, 'content');
    const deep = join(content, 'a'.repeat(90), format === 'v7' ? 'b' : 'b'.repeat(60));
    await mkdir(deep, { recursive: true });
    await mkdir(join(content, 'empty folder'));
    await writeFile(join(deep, 'run'), '#!/bin/sh\n', { mode: 0o755 });
    await writeFile(join(content, 'empty'), '');
    await writeFile(join(content, 'Größe 数.txt'), 'x'.repeat(100_000));
    for (const size of [1, 511, 512, 513, 1_024]) await writeFile(join(content, `of ${size}`), 'y'.repeat(size));
    await link(join(content, 'empty'), join(content, 'hard'));
    await symlink('empty folder/../empty', join(content, 'soft'));
    if (format === 'gnu' || format === 'posix') await writeFile(join(content, 'n'.repeat(255)), 'long');
    const file = join(folder, 'artifact');
    await execa('tar', ['-c', `--format=${format}`, '-f', file, '-C', content, '.']);
    // A path twice: the later one counts.
    await writeFile(join(content, 'of 1'), 'changed');
    await execa('tar', ['-r', `--format=${format}`, '-f', file, '-C', content, './of 1']);
    await unpackArtifact(file, join(folder, 'release'));
    const tree = await treeOf(join(folder, 'release'));
    expect(tree).toEqual(await treeOf(content));
    const sizes = await Promise.all(Object.keys(tree).map((path) => lstat(join(folder, 'release', path))));
    const bytes = sizes.reduce((sum, one) => sum + (one.isFile() ? one.size : 0), 0);
    expect(await checkArtifact(file)).toEqual({ paths: Object.keys(tree).length, bytes });
  });

  test('with its entries in the shapes of other programs', async () => {
    const pax = (records: string) => raw('x', { path: 'PaxHeader' }, records);
    const attributes = paxRecord('SCHILY.xattr.user.note', 'a\nb') + paxRecord('LIBARCHIVE.creationtime', '1');
    const file = await archive([
      raw('g', { path: 'pax_global_header' }, paxRecord('comment', digest)),
      raw('0', { path: 'by its slash/' }),
      raw('\0', { path: 'old' }, 'old file'),
      raw('7', { path: 'contiguous' }, 'contiguous file'),
      pax(attributes + paxRecord('path', 'renamed')),
      raw('0', { path: 'other' }, 'renamed file'),
      pax(paxRecord('size', '3')),
      Buffer.concat([raw('0', { path: 'sized' }), Buffer.from('abc'), Buffer.alloc(509)]),
    ]);
    await unpackArtifact(file, join(folder, 'release'));
    const names = ['old', 'contiguous', 'renamed', 'sized'];
    expect(names.map((name) => readFileSync(join(folder, 'release', name), 'utf8'))).toEqual([
      ...['old file', 'contiguous file', 'renamed file', 'abc'],
    ]);
    expect((await lstat(join(folder, 'release', 'by its slash'))).isDirectory()).toBe(true);
  });
});

describe('an archive that cannot be unpacked whole is refused by name', () => {
  test.each([
    ['gnu', ''],
    ['oldgnu', ''],
    ['posix', '--sparse-version=0.0'],
    ['posix', '--sparse-version=0.1'],
    ['posix', '--sparse-version=1.0'],
  ])('a sparse file, format %s %s', async (format, version) => {
    const content = join(folder, 'content');
    await mkdir(content);
    await writeFile(join(content, 'before'), 'x');
    await writeFile(join(content, 'hole.db'), '');
    await truncate(join(content, 'hole.db'), 1_000_000);
    await appendFile(join(content, 'hole.db'), 'end');
    const file = join(folder, 'artifact');
    const options = [`--format=${format}`, ...(version ? [version] : [])];
    await execa('tar', ['-c', '-S', ...options, '-f', file, '-C', content, 'before', 'hole.db']);
    await expectRefused(file, 'hole.db', 'it is a sparse file');
  });

  const pax = (key: string, value: string) => [
    raw('x', { path: 'PaxHeader' }, paxRecord(key, value)),
    entry({ path: 'odd' }, 'content'),
  ];
  const file = (path: string) => entry({ path }, 'x');
  const directory = (path: string) => entry({ path, type: 'Directory' });
  const hardLink = (path: string, linkpath: string, body = '') => raw('1', { path, linkpath }, body);
  test.each<[string, Buffer[], string, string?]>([
    ...[...'ADEIMNSVXQ'].map((flag): [string, Buffer[], string] => [
      `an entry of type ${flag}`,
      [raw(flag, { path: 'odd' }, 'content')],
      'odd',
    ]),
    ['a sparse file of star', pax('SCHILY.realsize', '5'), 'odd', 'sparse'],
    ['a sparse file of Solaris', pax('SUN.holesdata', ' 0 1'), 'odd', 'sparse'],
    ['a pax key that nobody knows', pax('ACME.layout', 'reversed'), 'odd', 'ACME.layout'],
    ['a name in another character set', pax('hdrcharset', 'ISO-IR 8859 1 1998'), 'odd', 'ISO-IR'],
    ['a name with a NUL', pax('path', 'a\0b'), 'a\0b', 'NUL'],
    ['a name that is no UTF-8', [withByte(file('nameX'), 4, 0xe9)], 'name\uFFFD', 'UTF-8'],
    ['a name of 264 bytes', longNamed('n'.repeat(264)), 'n'.repeat(264), '255 bytes'],
    ['a path of 4000 bytes', longNamed('n/'.repeat(2_000).slice(0, -1)), 'n/'.repeat(2_000).slice(0, -1), '3500 bytes'],
    ['a file without name', [hardLink('./', 'good')], './', 'no name'],
    ['a folder with content', [raw('5', { path: 'odd' }, 'content')], 'odd', '7 bytes'],
    ['a hard link with content', [hardLink('odd', 'good', 'b')], 'odd', '1 bytes'],
    ['a hard link to what is not there', [hardLink('odd', 'gone')], 'odd', '"gone"'],
    ['a hard link to what comes later', [hardLink('odd', 'after')], 'odd', 'before it'],
    ['a hard link to a folder', [directory('f/'), hardLink('odd', 'f')], 'odd', '"f"'],
    ['a hard link to itself', [file('odd'), hardLink('odd', './odd')], 'odd', 'itself'],
    ['a link without target', [raw('2', { path: 'odd' })], 'odd', 'target'],
    ['a file below a file', [file('a'), file('a/b')], 'a/b', '"a"'],
    ['a file in place of a folder', [directory('a/'), file('a')], 'a', '"a"'],
    ['a file in place of a folder that has no entry', [file('a/b'), file('a')], 'a', '"a"'],
    ['a folder in place of a file', [file('a'), directory('a/')], 'a/', '"a"'],
    ['a link in place of a folder', [file('a/b'), raw('2', { path: 'a', linkpath: 'x' })], 'a', '"a"'],
  ])('%s', async (_, entries, named, reason = '') => {
    const archived = await archive([file('good'), ...entries, file('after')]);
    await expectRefused(archived, named, reason);
  });

  const whole = (name: string) => Buffer.concat([file(name), file(`${name}2`)]);
  const end = Buffer.alloc(1_024);
  const extended = (flag: string, body: string) => raw(flag, { path: 'PaxHeader' }, body);
  const path = paxRecord('path', 'b');
  test.each<[string, Buffer[], string]>([
    ['a second archive behind it', [whole('a'), end, whole('b'), end], 'more behind its end mark'],
    ['one block of zeros in the middle', [whole('a'), Buffer.alloc(512), whole('b'), end], 'more behind its end mark'],
    ['one that was cut off between two entries', [whole('a')], 'no end mark'],
    ['one that was cut off in a content', [whole('a').subarray(0, 1_536)], 'inside of "a2": it was cut off'],
    ['one that was cut off in a header', [whole('a').subarray(0, 1_224)], 'no end mark: it was cut off'],
    ['one that was cut off behind an extended header', [whole('a'), extended('x', path), end], 'has no entry'],
    ['a damaged header', [whole('a'), file('b').fill(0x7a, 0, 1), end], 'byte 2048'],
    ['a pax header that is none', [whole('a'), extended('x', 'path=b'), whole('b'), end], 'pax header'],
    ['two pax headers for one entry', [extended('x', path), extended('x', path), whole('b'), end], 'two extended'],
    ['one name for all entries', [extended('g', path), whole('b'), end], 'global pax header with path'],
  ])('%s', async (_, parts, reason) => {
    const file = join(folder, 'artifact');
    await writeFile(file, Buffer.concat(parts));
    for (const read of [(path: string) => unpackArtifact(path, join(folder, 'release')), checkArtifact]) {
      await expect(read(file)).rejects.toMatchObject({
        ...{ code: 'artifact-damaged', isRetryable: false, message: expect.stringContaining(reason) },
      });
    }
    expect(await readdir(folder)).toEqual(['artifact']);
  });

  /** Unpacks by a tar of the test's own. */
  async function unpackedBy(script: string, entries: readonly Buffer[]): Promise<unknown> {
    const file = await archive([...entries]);
    const { PATH: before } = process.env;
    const { stdout: real } = await execa('which', ['tar']);
    await mkdir(join(folder, 'bin'), { recursive: true });
    await writeFile(join(folder, 'bin', 'tar'), `#!/bin/sh\ntar=${real}\n${script}\n`, { mode: 0o755 });
    process.env.PATH = `${join(folder, 'bin')}:${before}`;
    try {
      return await unpackArtifact(file, join(folder, 'release')).catch((error: unknown) => error);
    } finally {
      process.env.PATH = before;
      expect(existsSync(join(folder, 'release'))).toBe(false);
    }
  }

  test.each([
    ['Cannot write: No space left on device', 'file-not-writable', true],
    ['Cannot open: Permission denied', 'file-not-writable', true],
    ['Cannot open: File name too long', 'artifact-damaged', false],
  ])('what tar says counts, for the machine or the archive: %s', async (text, code, isRetryable) => {
    const failed = await unpackedBy(`echo "tar: a: ${text}" >&2; exit 2`, [
      entry({ path: 'a' }, 'a'.repeat(1_000_000)),
    ]);
    expect(failed).toMatchObject({ code, isRetryable, message: expect.stringContaining(`a: ${text}`) });
  });

  test.each([
    ['is missing', 'exec $tar "$@" --exclude=b'],
    ['of 0 bytes', '$tar "$@" && : >"$5/b"'],
  ])('what is not there after unpacking is noticed, whatever unpacked it: it %s', async (reason, script) => {
    const failed = await unpackedBy(script, [entry({ path: 'a' }, 'a'), entry({ path: 'b' }, 'b')]);
    expect(failed).toMatchObject({
      code: 'artifact-damaged',
      message: expect.stringContaining(`"b" is ${reason.replace('is ', '')}`),
    });
  });
});

/** Both where it is unpacked here and where it is only looked at. */
async function expectRefused(file: string, named: string, reason: string): Promise<void> {
  for (const read of [(path: string) => unpackArtifact(path, join(folder, 'into', 'release')), checkArtifact]) {
    await expect(read(file)).rejects.toMatchObject({
      ...{ code: 'artifact-entry-unsupported', isRetryable: false, args: { entry: named } },
      message: expect.stringContaining(reason),
    });
  }
  expect(await readdir(join(folder, 'into'))).toEqual([]);
}

/** Every path with its mode, content or target, and how many names it has. */
async function treeOf(root: string): Promise<Record<string, unknown>> {
  const found = await readdir(root, { recursive: true, withFileTypes: true });
  const described = found.map(async (one) => {
    const path = join(one.parentPath, one.name);
    const { mode, nlink } = await lstat(path);
    if (one.isDirectory()) return [path.slice(root.length), { mode }];
    const holds = one.isSymbolicLink() ? await readlink(path) : sha256(await readFile(path));
    return [path.slice(root.length), { mode, nlink, holds }];
  });
  return Object.fromEntries(await Promise.all(described));
}

/** An entry with a type flag that the library doesn't write. */
function raw(flag: string, { path, linkpath = '' }: { path: string; linkpath?: string }, body = ''): Buffer {
  const bytes = entry({ path, linkpath }, body);
  bytes.write(linkpath, 157, 'latin1');
  return withByte(bytes, 156, flag.charCodeAt(0));
}

/** An entry with one byte of its header changed, and its checksum right again. */
function withByte(bytes: Buffer, at: number, byte: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = byte;
  changed.fill(0x20, 148, 156);
  const sum = changed.subarray(0, 512).reduce((total, one) => total + one, 0);
  changed.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return changed;
}

/** A file whose name is longer than a header's field. */
function longNamed(path: string): Buffer[] {
  return [raw('L', { path: '././@LongLink' }, `${path}\0`), entry({ path: path.slice(0, 90) }, 'x')];
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const digits = String(bytes + String(bytes).length).length;
  return `${bytes + digits}${rest}`;
}

/** An entry of a tar archive, built by hand: no well-meant program would write some of these. */
function entry(header: ConstructorParameters<typeof Header>[0], body = ''): Buffer {
  const bytes = Buffer.from(body);
  const block = Buffer.alloc(512);
  const fields = {
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: new Date(0),
    type: 'File',
    ...(header as object),
    size: bytes.length,
  };
  new Header(fields as ConstructorParameters<typeof Header>[0]).encode(block, 0);
  return Buffer.concat([block, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

async function archive(entries: Buffer[], compress: (bytes: Buffer) => Buffer = (bytes) => bytes): Promise<string> {
  const file = join(folder, 'artifact');
  await writeFile(file, compress(Buffer.concat([...entries, Buffer.alloc(1_024)])));
  return file;
}

/** An artifact in a folder, with its checksum file. */
async function onDisk({
  checksum = digest,
}: {
  checksum?: string;
}): Promise<ArtifactsConfiguration & { checksum: string }> {
  await writeFile(join(folder, 'api-aaaaaaa1.tar.gz'), content);
  await writeFile(join(folder, 'api-aaaaaaa1.tar.gz.sha256'), checksum);
  const url = `${pathToFileURL(folder).href}/{component}-{sha}.tar.gz`;
  return { url, checksum: '{url}.sha256', maxBytes: 1_000_000, timeoutMs: 10_000 };
}

const pinOf = (base: string, path = `/${names.sha}`): ArtifactPin => ({
  ...names,
  url: `${base}${path}`,
  sha256: digest,
});

const remote = (base: string): ArtifactsConfiguration => ({
  url: `${base}/{sha}`,
  maxBytes: 1_000_000,
  timeoutMs: 10_000,
});

const serve = (listener: RequestListener): Promise<string> => listenOn(createServer(listener));

/** A server of https with the artifact, whose certificate is of an authority that nobody knows. */
async function serveByTls(): Promise<{ base: string; caFile: string }> {
  const { caFile, certificate, privateKey } = await makeServerCertificate(join(folder, 'tls'));
  const [cert, key] = await Promise.all([readFile(certificate), readFile(privateKey)]);
  const base = await listenOn(
    createTlsServer({ cert, key }, (_, response) => response.end(content)),
    '0.0.0.0',
  );
  return { base: base.replace('http:', 'https:'), caFile };
}

async function listenOn(server: Server, at = '127.0.0.1'): Promise<string> {
  server.listen(0, at);
  servers.push(server);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
