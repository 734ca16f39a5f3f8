import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import type { ExampleEdge } from '../../rig/example-edge.js';
import { askRaw } from '../../rig/raw-visitor.js';
import type { RouteRow } from './route-table.js';

export interface RouteAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Sends a row's request to the edge as it stands there. A host without a certificate is asked for over that of veza.fr. */
export async function askRow(edge: ExampleEdge, row: RouteRow): Promise<RouteAnswer | null> {
  const { http, https } = edge.applied.configuration.edge;
  const isTls = row.over === 'https' || row.over === 'http/2';
  if (isTls && !https) throw new Error('no https');
  const target = {
    ...(isTls && https ? https : http),
    ...(isTls && { tls: { name: nameFor(edge, row.host), trusted: edge.trusted } }),
  };
  if (row.over === 'http/2' && https) return await askHttp2(edge, https, row);
  const version = row.over === 'http/1.0' ? '1.0' : '1.1';
  const hasBody = ['POST', 'PUT', 'PATCH'].includes(row.method);
  const lines = [
    `${row.method} ${row.target} HTTP/${version}`,
    ...(row.host === null ? [] : [`Host: ${row.host}`]),
    'Connection: close',
    ...(hasBody ? ['Content-Length: 4'] : []),
  ];
  return await askRaw(target, `${lines.join('\r\n')}\r\n\r\n${hasBody ? 'body' : ''}`);
}

/** The name to ask for in the TLS handshake. */
function nameFor({ applied }: ExampleEdge, host: string | null): string {
  const name = (host ?? '').toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '');
  const names = (applied.configuration.certificates?.domains ?? []).flat();
  return names.includes(name) ? name : 'veza.fr';
}

async function askHttp2(
  edge: ExampleEdge,
  { address, port }: { readonly address: string; readonly port: number },
  { method, host, target }: RouteRow,
): Promise<RouteAnswer> {
  const session = connect(`https://${address}:${port}`, {
    createConnection: () =>
      connectTls({
        host: address,
        port,
        servername: nameFor(edge, host),
        ca: [...edge.trusted],
        ALPNProtocols: ['h2'],
      }),
  });
  try {
    await once(session, 'connect', { signal: AbortSignal.timeout(10_000) });
    return await askStream(session, { ':method': method, ':authority': host ?? '', ':path': target });
  } finally {
    session.close();
  }
}

async function askStream(session: ClientHttp2Session, headers: Readonly<Record<string, string>>): Promise<RouteAnswer> {
  const stream = session.request(headers, { endStream: true, signal: AbortSignal.timeout(10_000) });
  const [answer] = (await once(stream, 'response')) as [Record<string, string | number>];
  let body = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) body += chunk;
  return { status: Number(answer[':status']), headers: answer, body };
}
