import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * A TCP port that nothing listens on. Taken below the range from which systems give outgoing connections their ports
 * (32768 on Linux), so that a load test running beside does not take it before it is used.
 */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (let tries = 0; tries < 200; tries += 1) {
    const port = randomInt(15_000, 32_000);
    if (await canListen(address, port)) return port;
  }
  throw new Error(`no free port found on ${address}`);
}

export interface LoopbackRange {
  /** `127.x.y.0/24`, as `instances.addresses` takes it. */
  readonly cidr: string;
  /** The range's address with this last number. */
  address(last: number): string;
}

/** A /24 of 127.0.0.0/8, chosen at random among 38,000, so that tests running beside each other get different ones. */
export function freeLoopbackRange(): LoopbackRange {
  const prefix = `127.${randomInt(100, 250)}.${randomInt(0, 256)}`;
  return { cidr: `${prefix}.0/24`, address: (last) => `${prefix}.${last}` };
}

function canListen(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
