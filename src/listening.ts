import { connect } from 'node:net';

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** Parts of `127.0.0.1:7233`. */
export function parseAddress(address: string): HostAndPort {
  const separator = address.lastIndexOf(':');
  return { host: address.slice(0, separator), port: Number(address.slice(separator + 1)) };
}

export const isLoopback = ({ host }: HostAndPort): boolean => host === 'localhost' || host.startsWith('127.');

/**
 * Whether somebody listens there: a refused connection shows at once, where gRPC would wait for it to come up. What is
 * neither refused nor accepted in time is left to gRPC: on a busy machine it may be this process that did not look.
 */
export function isListening({ host, port }: HostAndPort): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1_000 });
    const answer = (isAccepted: boolean) => {
      socket.destroy();
      resolve(isAccepted);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
    socket.once('timeout', () => answer(true));
  });
}
