import { randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Host } from '../../src/hosts/host.js';
import { IncusHost } from '../../src/hosts/incus.js';
import { LocalHost } from '../../src/hosts/local.js';
import { until } from '../rig/chaos.js';
import { freePort } from '../rig/ports.js';
import { type Container, launchContainer, useIncusd } from './rig/containers.js';

const timeoutMs = 30_000;
let container: Container;

beforeAll(async () => {
  container = await launchContainer('host');
});
afterAll(() => container.remove());
useIncusd();

interface Kind {
  readonly kind: string;
  readonly open: () => Host;
  /** Looks at it by other means. */
  readonly sh: (script: string, ...args: readonly string[]) => Promise<string>;
}

const kinds: readonly Kind[] = [
  {
    kind: 'this machine',
    open: () => new LocalHost(),
    sh: async (script, ...args) => (await execa('sh', ['-c', script, 'sh', ...args])).stdout,
  },
  {
    kind: 'an instance of Incus',
    open: () => new IncusHost({ instance: container.name }),
    sh: async (script, ...args) => await container.run('sh', '-c', script, 'sh', ...args),
  },
];

/** Nobody waits for its streams. */
const inBackground = (command: string): string => `${command} >/dev/null 2>&1 </dev/null &`;

describe.each(kinds)('on $kind', ({ open, sh }) => {
  let host: Host;
  let folder: string;

  beforeEach(async () => {
    host = open();
    folder = await sh('mktemp -d');
    return async () => void (await sh('rm -rf "$1"', folder));
  });

  const isRunning = async (pid: string) => (await sh('[ -d "/proc/$1" ] && echo yes || :', pid)) === 'yes';

  /** Processes that were told to write their ids into files of the folder. */
  const pids = async () =>
    await until('both have begun', async () => {
      const found = await sh('cat "$1"/parent "$1"/child 2>/dev/null || :', folder);
      return found.split('\n').length === 2 ? found.split('\n') : null;
    });
  const parentAndChild = 'echo $$ >"$1/parent"; sh -c \'echo $$ >"$1/child"; sleep 1000\' sh "$1" & wait';

  test('a command has input, output, an environment and an exit code', async () => {
    const script = 'cat; echo "$GREETING"; echo oh >&2; exit 10';
    const result = await host.run(['sh', '-c', script], { input: 'in\n', timeoutMs, env: { GREETING: 'hello' } });
    expect(result).toEqual({ exitCode: 10, stdout: 'in\nhello', stderr: 'oh' });
  });

  test('a program that is not there is named', async () => {
    await expect(host.run(['nothing-like-it'], { timeoutMs })).rejects.toMatchObject({
      code: 'command-not-found',
      message: expect.stringContaining(host.name),
    });
  });

  test('a command that a signal ended has no exit code', async () => {
    const ended = host.run(['sh', '-c', 'kill -KILL $$'], { timeoutMs });
    await expect(ended).rejects.toMatchObject({ code: 'command-ended' });
  });

  test('what takes too long is ended with all that it started', async () => {
    const running = host.run(['sh', '-c', parentAndChild, 'sh', folder], { timeoutMs: 3_000 });
    const failed = expect(running).rejects.toMatchObject({ code: 'command-timed-out' });
    const [parent = '', child = ''] = await pids();
    await failed;
    await until('both have ended', async () => !(await isRunning(parent)) && !(await isRunning(child)));
  });

  test('what is cancelled is ended', async () => {
    const cancelling = new AbortController();
    const script = 'echo $$ >"$1/parent"; echo $$ >"$1/child"; exec sleep 1000';
    const running = host.run(['sh', '-c', script, 'sh', folder], { timeoutMs, signal: cancelling.signal });
    const failed = expect(running).rejects.toThrow('not wanted any more');
    const [pid = ''] = await pids();
    cancelling.abort(new Error('not wanted any more'));
    await failed;
    await until('it has ended', async () => !(await isRunning(pid)));
  });

  test('onStarted is called when a command has begun', async () => {
    const onStarted = vi.fn();
    await host.run(['true'], { timeoutMs, onStarted });
    expect(onStarted).toHaveBeenCalledOnce();
  });

  test('a file is read, also one of /proc; one that is not there is none', async () => {
    await sh('printf "one\\ntwö\\n" >"$1/file"; ln -s file "$1/link"', folder);
    expect(await host.readText(`${folder}/file`)).toBe('one\ntwö\n');
    expect(await host.readText(`${folder}/link`)).toBe('one\ntwö\n');
    expect(await host.readText('/proc/1/status')).toMatch(/^Name:\t/);
    expect(await host.readText('/proc/999999999/comm')).toBeNull();
    expect(await host.readText(`${folder}/none`)).toBeNull();
    expect(await host.readText(`${folder}/file/none`)).toBeNull();
  });

  test('state is read through no link', async () => {
    await sh('printf one >"$1/file"; ln -s file "$1/link"', folder);
    expect(await host.readState(`${folder}/file`)).toBe('one');
    expect(await host.readState(`${folder}/none`)).toBeNull();
    await expect(host.readState(`${folder}/link`)).rejects.toMatchObject({
      code: 'state-file-is-link',
      message: expect.stringContaining(host.name),
    });
  });

  test('a private file is written whole, or made by whoever is first, and removed', async () => {
    const file = `${folder}/new/secret`;
    await host.createPrivately(file, 'first\n');
    await host.createPrivately(file, 'second\n');
    expect(await host.readState(file)).toBe('first\n');
    await host.writePrivately(file, 'third');
    expect(await host.readState(file)).toBe('third');
    expect(await sh('stat -c %a "$1/new/secret" "$1/new"; ls -A "$1/new"', folder)).toBe('600\n700\nsecret');
    await host.remove(`${folder}/new`);
    await host.remove(`${folder}/new`);
    expect(await host.readFolder(folder)).toEqual([]);
  });

  test('what cannot be written or removed says why', async () => {
    await sh('mount -t tmpfs -o ro tmpfs "$1"', folder);
    const why = { code: 'file-not-writable', message: expect.stringMatching(/read-only|EROFS/i) };
    await expect(host.writePrivately(`${folder}/secret`, 'x')).rejects.toMatchObject(why);
    await sh('umount "$1"', folder);
  });

  test('a folder is read; a file in its place, or nothing, has no names', async () => {
    await sh('mkdir "$1/folder"; : >"$1/folder/.a"; : >"$1/folder/b c"', folder);
    expect([...(await host.readFolder(`${folder}/folder`))].toSorted()).toEqual(['.a', 'b c']);
    expect(await host.readFolder(`${folder}/none`)).toEqual([]);
    expect(await host.readFolder(`${folder}/folder/.a`)).toEqual([]);
  });

  test('a folder on a read-only file system cannot be written, by the system’s word', async () => {
    expect(await host.whyNotWritable(folder)).toBeNull();
    expect(await host.whyNotWritable(`${folder}/none`)).toBeNull();
    expect(await sh('ls -A "$1"', folder)).toBe('');
    await sh('mount -t tmpfs -o ro tmpfs "$1"', folder);
    expect(await host.whyNotWritable(folder)).toMatch(/read-only|EROFS/i);
    await sh('umount "$1"', folder);
  });

  test('an address is free until a program listens there', async () => {
    const port = await freePort();
    const everywhere = { address: '*', port };
    const here = { address: '127.0.0.1', port };
    expect(await host.isAddressFree(here)).toBe(true);
    expect(await host.isAddressFree(everywhere)).toBe(true);
    const listen = 'socat "TCP4-LISTEN:$2,bind=127.0.0.1,reuseaddr,fork" SYSTEM:cat';
    await sh(`${inBackground(listen)} echo $! >"$1/pid"`, folder, String(port));
    const echo = async (): Promise<string> => {
      const connection = host.connect(here);
      connection.end('echoed');
      return await text(connection);
    };
    expect(await until('it answers', () => echo().catch(() => null))).toBe('echoed');
    expect(await host.isAddressFree(here)).toBe(false);
    expect(await host.isAddressFree(everywhere)).toBe(false);
    expect(await host.isAddressFree({ address: '127.0.0.2', port })).toBe(true);
    await sh('kill "$(cat "$1/pid")"', folder);
    await expect(host.isAddressFree({ address: '203.0.113.1', port })).rejects.toMatchObject({
      code: 'address-unusable',
    });
  });

  test('a socket is asked as a program there would, and one on which nobody answers says why', async () => {
    await sh(`${inBackground('socat "UNIX-LISTEN:$1/socket,fork" SYSTEM:sort')} echo $! >"$1/pid"`, folder);
    await until('it is there', async () => (await host.readFolder(folder)).includes('socket'));
    const connection = host.connect({ path: `${folder}/socket` });
    connection.write('b\n');
    connection.end('a\n');
    expect(await text(connection)).toBe('a\nb\n');
    await sh('kill "$(cat "$1/pid")"', folder);
    await expect(text(host.connect({ path: `${folder}/none` }))).rejects.toThrow(/ENOENT|No such file/);
  });

  test('a process is found by the file that it names', async () => {
    const name = `${folder}/${randomUUID()}`;
    await sh(`: >"$1"; ${inBackground('setsid tail -f "$1"')} :`, name);
    const found = await until('it runs', async () => {
      const [process] = (await host.processesOf(name)).filter(({ name }) => name === 'tail');
      return process ?? null;
    });
    expect(found.commandLine).toEqual(['tail', '-f', name]);
    expect(found.session).toBe(found.pid);
  });
});
