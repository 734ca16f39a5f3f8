import { createSocket } from 'node:dgram';

export interface NameServer {
  /** IPv4 addresses by name; every other name does not exist. */
  readonly addresses: Map<string, string>;
  /** CAA records by name, such as `0 issue "letsencrypt.org"` (RFC 8659). */
  readonly authorizations: Map<string, readonly CaaRecord[]>;
  /** Questions it was asked and did not answer. */
  unanswered(): number;
  /** Answers nothing any more. */
  fallSilent(): void;
  stop(): Promise<void>;
}

export interface CaaRecord {
  readonly isCritical?: boolean;
  readonly tag: string;
  readonly value: string;
}

const typeA = 1;
const typeCaa = 257;
const noSuchName = 3;

/**
 * A DNS server on UDP that knows addresses (RFC 1035) as far as libc, HAProxy and Pebble ask for them, and who may certify
 * names. Port 53 needs root.
 */
export async function startNameServer(address: string, port = 53): Promise<NameServer> {
  const addresses = new Map<string, string>();
  const authorizations = new Map<string, readonly CaaRecord[]>();
  let isSilent = false;
  let unanswered = 0;
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    if (isSilent) unanswered += 1;
    else socket.send(answerTo(query, { addresses, authorizations }), from.port, from.address);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
  return {
    addresses,
    authorizations,
    unanswered: () => unanswered,
    fallSilent: () => {
      isSilent = true;
    },
    stop: async () => await new Promise((resolve) => socket.close(resolve)),
  };
}

function answerTo(query: Buffer, known: Pick<NameServer, 'addresses' | 'authorizations'>): Buffer {
  const { name, end } = nameAt(query, 12);
  const type = query.readUInt16BE(end);
  const address = known.addresses.get(name);
  const authorizations = known.authorizations.get(name);
  const isKnown = address !== undefined || authorizations !== undefined;
  const answers = [
    ...(address !== undefined && type === typeA ? [Buffer.from(address.split('.').map(Number))] : []),
    ...(type === typeCaa ? (authorizations ?? []).map(caaData) : []),
  ];
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  // An answer, authoritative, with recursion where it was asked for.
  head.writeUInt16BE(0x8480 | (query.readUInt16BE(2) & 0x0100) | (isKnown ? 0 : noSuchName), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(answers.length, 6);
  return Buffer.concat([head, query.subarray(12, end + 4), ...answers.map((data) => resourceRecord(type, data))]);
}

/** The name of the question, its type, class IN, one second to live. */
function resourceRecord(type: number, data: Buffer): Buffer {
  const head = Buffer.from([0xc0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, data.length]);
  head.writeUInt16BE(type, 2);
  return Buffer.concat([head, data]);
}

const caaData = ({ isCritical = false, tag, value }: CaaRecord): Buffer =>
  Buffer.concat([Buffer.from([isCritical ? 0x80 : 0, tag.length]), Buffer.from(tag), Buffer.from(value)]);

function nameAt(message: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}
