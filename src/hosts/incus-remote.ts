import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Agent } from 'undici';
import type { ClientOptions } from 'ws';
import { parse } from 'yaml';
import * as z from 'zod';
import { homeFolder } from '../current-user.js';
import { BasculeError } from '../errors.js';
import { hasSystemCode } from '../system-error.js';

/** An Incus daemon that can be asked. */
export interface IncusRemote {
  /** As Incus's own client calls it; `local` is this machine's. */
  readonly name: string;
  /** Its socket or URL, for a person. */
  readonly place: string;
  /** Before each path. */
  readonly origin: string;
  readonly dispatcher: Agent;
  /** For a WebSocket to it. */
  readonly sockets: ClientOptions;
}

const settingsSchema = z.object({
  remotes: z.record(z.string(), z.object({ addr: z.string().optional(), protocol: z.string().optional() })).optional(),
});

/**
 * The daemon that Incus's own client knows by this name, found as that client finds it: by INCUS_SOCKET and INCUS_DIR, and
 * by the remotes of `config.yml` with their certificates, in INCUS_CONF or `~/.config/incus`.
 *
 * @throws `incus-remote-unknown`, `incus-certificate-missing`
 */
export async function openRemote(name = 'local', env: NodeJS.ProcessEnv = process.env): Promise<IncusRemote> {
  if (name === 'local') return overSocket(name, localSocket(env));
  const { remotes, folder, file } = await readRemotes(env);
  const address = remotes[name]?.addr;
  if (address === undefined) throw new BasculeError('incus-remote-unknown', { remote: name, file });
  const socket = /^unix:(?:\/\/)?(.*)$/.exec(address)?.[1];
  if (socket !== undefined) return overSocket(name, socket || localSocket(env));
  const [cert, key] = await Promise.all(
    ['client.crt', 'client.key'].map((each) => readNeeded(name, join(folder, each))),
  );
  const server = await acceptedCertificate(folder, name);
  // The daemon's own certificate was accepted when the remote was added: it is that one, whatever name it bears.
  const pinned = server === null ? {} : { ca: server, checkServerIdentity: () => undefined };
  const tls = { cert, key, ...pinned };
  const dispatcher = new Agent({ connect: tls });
  const { origin, hostname: host, port } = new URL(address);
  const sockets = { createConnection: () => connectTls({ host, port: Number(port || 443), ...tls }) };
  return { name, place: address, origin, dispatcher, sockets };
}

/** PEM of the certificate that was accepted when a remote was added; null where a public authority vouches for it. */
export const acceptedCertificate = (folder: string, remote: string): Promise<string | null> =>
  readOrNull(join(folder, 'servercerts', `${remote}.crt`));

/** The servers that Incus's own client knows by name, and where it has them. */
export async function readRemotes(env: NodeJS.ProcessEnv = process.env) {
  const folder = env.INCUS_CONF ?? join(homeFolder() ?? '/', '.config', 'incus');
  const file = join(folder, 'config.yml');
  const { remotes = {} } = settingsSchema.safeParse(parse((await readOrNull(file)) ?? '')).data ?? {};
  return { remotes, folder, file };
}

function overSocket(name: string, socket: string): IncusRemote {
  return {
    name,
    place: socket,
    origin: 'http://incus',
    dispatcher: new Agent({ connect: { socketPath: socket } }),
    sockets: { createConnection: () => connect(socket) },
  };
}

function localSocket(env: NodeJS.ProcessEnv): string {
  if (env.INCUS_SOCKET) return env.INCUS_SOCKET;
  if (env.INCUS_DIR) return join(env.INCUS_DIR, 'unix.socket');
  const [first = '', second = ''] = ['/run/incus/unix.socket', '/var/lib/incus/unix.socket'];
  return existsSync(first) ? first : second;
}

async function readNeeded(remote: string, file: string): Promise<string> {
  const text = await readOrNull(file);
  if (text === null) throw new BasculeError('incus-certificate-missing', { remote, file });
  return text;
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return null;
    throw error;
  }
}
