import { resolve } from 'node:path';
import { readAddressRange } from '../domain/addresses.js';
import type { AddressRange, BindAddress, EdgeFiles, EdgeHost } from '../domain/configuration.js';
import { defaults } from '../domain/defaults.js';

/** The defaults that follow from other values, and the values that are written as one text. */

export const prefixOf = (project: string, environment: string, prefix: string | undefined): string =>
  prefix ?? `${project}-${environment}-`;

export const poolOf = (component: string, pool: string | undefined): string => pool ?? `${component}_pool`;

/** The only component takes what no route takes, unless it says that it does not. */
export const isDefaultComponent = (isDefault: boolean | undefined, componentCount: number): boolean =>
  isDefault ?? componentCount === 1;

interface FilesInput {
  readonly config?: string | undefined;
  readonly state?: string | undefined;
  readonly certificates?: string | undefined;
  readonly socket?: string | undefined;
  readonly master?: string | undefined;
}

interface UsualFiles {
  readonly config: string;
  readonly state: string;
  readonly certificates: string;
  readonly socket: string;
  /** Beside `socket` where it is left out. */
  readonly master?: string;
}

/** In a container that is the edge's own they are where Debian's haproxy package looks. */
const usualFiles: Readonly<Record<EdgeHost['driver'], UsualFiles>> = {
  local: {
    config: defaults.edgeConfig,
    state: defaults.edgeState,
    certificates: defaults.edgeCertificates,
    socket: defaults.edgeSocket,
  },
  incus: {
    config: '/etc/haproxy/haproxy.cfg',
    state: '/var/lib/bascule',
    certificates: '/usr/local/etc/tls/haproxy',
    socket: '/run/haproxy/bascule.sock',
    master: '/run/haproxy-master.sock',
  },
};

/** Absolute paths of the edge's files; relative ones are in `folder`. */
export function edgeFiles(files: FilesInput, folder: string, driver: EdgeHost['driver']): EdgeFiles {
  const usual = usualFiles[driver];
  const master = files.master ?? usual.master;
  const socket = resolve(folder, files.socket ?? usual.socket);
  return {
    config: resolve(folder, files.config ?? usual.config),
    state: resolve(folder, files.state ?? usual.state),
    certificates: resolve(folder, files.certificates ?? usual.certificates),
    socket,
    masterSocket: master === undefined ? `${socket.replace(/\.sock$/, '')}-master.sock` : resolve(folder, master),
  };
}

/** An address or a host name and a port, as the schema lets through. */
export function readAddress(text: string): BindAddress {
  const [address = '', port] = text.split(':');
  return { address, port: Number(port) };
}

const bindKeys = ['http', 'https', 'runtime', 'metrics'] as const;

/** Where the edge listens, as far as it is known. */
export function bindsOf(edge: { readonly [Key in (typeof bindKeys)[number]]?: string | undefined }) {
  return bindKeys.flatMap((key) => (edge[key] === undefined ? [] : [{ key, bind: readAddress(edge[key]) }]));
}

/** Those of processes of the worker's machine. */
export const processAddresses = (text: string | undefined): AddressRange =>
  text === undefined ? defaults.addresses : readAddressRange(text);
