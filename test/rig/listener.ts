import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Who is told by POST. */
export interface Listener {
  readonly url: string;
  /** The documents that it was sent, oldest first. */
  readonly heard: readonly unknown[];
  /** What it answers next, in turn, before it answers 200 again. */
  answer(...statuses: readonly number[]): void;
  stop(): void;
}

export async function startListener(): Promise<Listener> {
  const heard: unknown[] = [];
  const next: number[] = [];
  const server = createServer(async (asked, answer) => {
    const chunks: Buffer[] = [];
    for await (const chunk of asked) chunks.push(chunk);
    heard.push(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    answer.writeHead(next.shift() ?? 200).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hooks/secret-of-the-hook`,
    heard,
    answer: (...statuses) => void next.push(...statuses),
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
