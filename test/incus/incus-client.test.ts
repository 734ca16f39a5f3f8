import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { IncusClient } from '../../src/hosts/incus-client.js';
import { freePort } from '../rig/ports.js';
import { type Container, launchContainer, runIncus } from './rig/containers.js';
import { killDaemon, startDaemon } from './rig/incusd.js';

const incusd = inject('incusd');
let container: Container;
let client: IncusClient;

beforeAll(async () => {
  container = await launchContainer('client');
});
beforeEach(() => {
  for (const [name, value] of Object.entries(incusd.env)) vi.stubEnv(name, value);
  client = new IncusClient({ instance: container.name });
  return async () => {
    vi.unstubAllEnvs();
    await client.close();
  };
});
afterAll(() => container.remove());

async function run(of: IncusClient, command: readonly string[], input = '') {
  const { stdin, stdout, stderr, exitCode } = await of.exec(command, { GREETING: 'hello' });
  stdin.end(input);
  const [out, err, code] = await Promise.all([text(stdout), text(stderr), exitCode]);
  return { out, err, code };
}

describe('a command in an instance', () => {
  test('has streams of its own, an environment and an exit code', async () => {
    const script = 'cat; echo "$GREETING"; echo oh >&2; exit 3';
    expect(await run(client, ['sh', '-c', script], 'in\n')).toEqual({ out: 'in\nhello\n', err: 'oh\n', code: 3 });
  });

  test('takes and gives more than a socket holds, byte for byte', async () => {
    const much = '0123456789abcdeö'.repeat(500_000);
    const { out, code } = await run(client, ['cat'], much);
    expect(code).toBe(0);
    expect(out === much).toBe(true);
  });

  test('may end without having read its input', async () => {
    expect(await run(client, ['true'], 'x'.repeat(3_000_000))).toMatchObject({ code: 0 });
  });

  test('that the daemon lost is an error, and one after its restart is not', async () => {
    const { stdout, exitCode } = await client.exec(['sh', '-c', 'echo begun; sleep 600']);
    await new Promise((resolve) => stdout.once('data', resolve));
    await killDaemon(incusd);
    await expect(exitCode).rejects.toMatchObject({ code: 'incus-unreachable', isRetryable: true });
    await expect(run(client, ['true'])).rejects.toMatchObject({ code: 'incus-unreachable' });
    await startDaemon(incusd.directory);
    expect(await run(client, ['true'])).toMatchObject({ code: 0 });
  });
});

describe('a file of an instance', () => {
  test('is written with mode and owner, and read as it was written', async () => {
    await client.pushFile('/root/a b', 'one\ntwo', { mode: 0o640, uid: 5, gid: 6 });
    const file = await client.readFile('/root/a b');
    expect(file).toMatchObject({ type: 'file', mode: 0o640, uid: 5, gid: 6 });
    expect(file?.content.toString()).toBe('one\ntwo');
    expect(await container.run('stat', '-c', '%a %u %g', '/root/a b')).toBe('640 5 6');
  });

  test('that is not there is none; a link is shown as one', async () => {
    expect(await client.readFile('/root/nothing')).toBeNull();
    await container.run('ln', '-sf', '/etc/hostname', '/root/link');
    expect(await client.readFile('/root/link')).toMatchObject({ type: 'symlink' });
  });

  test('cannot be written into a folder that is not there', async () => {
    await expect(client.pushFile('/nowhere/x', '', { mode: 0o600 })).rejects.toMatchObject({ code: 'incus-refused' });
  });
});

describe('an error names instance, project and remote', () => {
  test.each([
    { why: 'no such instance', place: { instance: 'nobody' }, code: 'incus-instance-missing' },
    { why: 'no such project', place: { instance: 'nobody', project: 'none' }, code: 'incus-instance-missing' },
  ])('$why', async ({ place, code }) => {
    const other = new IncusClient(place);
    const said = {
      code,
      message: expect.stringContaining(`(project ${place.project ?? 'default'} of Incus's remote local)`),
    };
    await expect(run(other, ['true'])).rejects.toMatchObject(said);
    await expect(other.readFile('/etc/hostname')).rejects.toMatchObject(said);
    await other.close();
  });

  test('an instance that is stopped', async () => {
    await runIncus('stop', '--force', container.name);
    await expect(run(client, ['true'])).rejects.toMatchObject({
      code: 'incus-instance-stopped',
      remedy: expect.stringContaining(`incus start local:${container.name}`),
    });
    await runIncus('start', container.name);
  });

  test('a daemon that is not there', async () => {
    vi.stubEnv('INCUS_SOCKET', '/nowhere.socket');
    const other = new IncusClient({ instance: container.name });
    await expect(run(other, ['true'])).rejects.toMatchObject({
      code: 'incus-unreachable',
      message: expect.stringContaining('/nowhere.socket'),
    });
  });
});

describe('a remote', () => {
  const remote = 'far';
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    await runIncus('config', 'set', 'core.https_address', `127.0.0.1:${port}`);
    const { token } = /(?<token>\S+)\s*$/.exec(await runIncus('config', 'trust', 'add', 'tests'))?.groups ?? {};
    await runIncus(
      'remote',
      'add',
      remote,
      `https://127.0.0.1:${port}`,
      '--accept-certificate',
      '--token',
      token ?? '',
    );
  });

  test('is asked over TLS with the certificate of Incus’s own client', async () => {
    const far = new IncusClient({ instance: container.name, remote });
    expect(await run(far, ['cat'], 'far')).toMatchObject({ out: 'far', code: 0 });
    expect(await far.readFile('/root/nothing')).toBeNull();
    await far.close();
  });

  test('that shows another certificate than the one accepted is not spoken to', async () => {
    const accepted = join(incusd.env.INCUS_CONF ?? '', 'servercerts', `${remote}.crt`);
    const real = await readFile(accepted, 'utf8');
    await writeFile(accepted, await readFile(join(incusd.env.INCUS_CONF ?? '', 'client.crt'), 'utf8'));
    const far = new IncusClient({ instance: container.name, remote });
    await expect(run(far, ['true'])).rejects.toMatchObject({
      code: 'incus-unreachable',
      message: expect.stringContaining('certificate'),
    });
    await far.close();
    await writeFile(accepted, real);
  });

  test('that does not trust this one says so', async () => {
    const [trusted] = JSON.parse(await runIncus('config', 'trust', 'list', '--format', 'json'));
    await runIncus('config', 'trust', 'remove', trusted.fingerprint);
    const far = new IncusClient({ instance: container.name, remote });
    await expect(run(far, ['true'])).rejects.toMatchObject({ code: 'incus-not-trusted' });
    await far.close();
  });

  test('that Incus’s own client does not know is named with the command that adds it', async () => {
    const unknown = new IncusClient({ instance: container.name, remote: 'nobody' });
    await expect(run(unknown, ['true'])).rejects.toMatchObject({
      code: 'incus-remote-unknown',
      remedy: expect.stringContaining('incus remote add nobody'),
    });
  });
});
