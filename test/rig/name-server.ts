import { createSocket } from 'node:dgram';

export interface NameServer {
  /** IPv4 addresses by name; every other name does not exist. */
  readonly addresses: Map<string, string>;
  /** Questions it was asked and did not answer. */
  unanswered(): number;
  /** Answers nothing any more. */
  fallSilent(): void;
  stop(): Promise<void>;
}

const typeA = 1;
const noSuchName = 3;

/** A DNS server on UDP that knows addresses (RFC 1035) as far as libc and HAProxy ask for them. Port 53 needs root. */
export async function startNameServer(address: string): Promise<NameServer> {
  const addresses = new Map<string, string>();
  let isSilent = false;
  let unanswered = 0;
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    if (isSilent) unanswered += 1;
    else socket.send(answerTo(query, addresses), from.port, from.address);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(53, address, resolve);
  });
  return {
    addresses,
    unanswered: () => unanswered,
    fallSilent: () => {
      isSilent = true;
    },
    stop: async () => await new Promise((resolve) => socket.close(resolve)),
  };
}

function answerTo(query: Buffer, addresses: ReadonlyMap<string, string>): Buffer {
  const { name, end } = nameAt(query, 12);
  const type = query.readUInt16BE(end);
  const address = addresses.get(name);
  const hasAnswer = address !== undefined && type === typeA;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  // An answer, authoritative, with recursion where it was asked for.
  head.writeUInt16BE(0x8480 | (query.readUInt16BE(2) & 0x0100) | (address === undefined ? noSuchName : 0), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(hasAnswer ? 1 : 0, 6);
  const question = query.subarray(12, end + 4);
  if (!hasAnswer) return Buffer.concat([head, question]);
  // The name of the question, type A, class IN, one second to live, four bytes.
  const record = Buffer.from([0xc0, 12, 0, typeA, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split('.').map(Number)]);
  return Buffer.concat([head, question, record]);
}

function nameAt(message: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}
