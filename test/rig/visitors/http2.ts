import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import {
  answerWithinMs,
  bodyOf,
  type Connections,
  noAnswer,
  type Outgoing,
  type Request,
  readAnswer,
} from './answer.js';
import type { Answer, Stream, Target } from './messages.js';

const mostRefused = 3;

/**
 * HTTP/2 over https: one connection at a time, with as many requests at once as come, until the server says GOAWAY; a
 * new one for each request where the kind says so. A request that was refused, which says that nothing was done with it
 * (RFC 9113, 8.7), is sent again, as browsers do it, and counted.
 */
export class Http2Connections implements Connections {
  private kept: { readonly session: ClientHttp2Session; used: boolean } | null = null;

  constructor(
    private readonly target: Target,
    private readonly stream: Stream,
  ) {}

  send(request: Request): Outgoing {
    let begin = { at: Date.now(), reused: false, refused: 0 };
    const ask = async (): Promise<Answer> => {
      const isNew = this.stream.kind === 'new';
      const connection = isNew ? this.open() : this.connection();
      begin = { ...begin, at: Date.now(), reused: connection.used };
      connection.used = true;
      const answer = await this.ask(connection.session, request);
      if (isNew) connection.session.close();
      if (answer !== 'refused') return answer;
      begin.refused += 1;
      return begin.refused > mostRefused ? noAnswer(new Error('refused again and again')) : await ask();
    };
    return { answer: ask(), begin: () => begin };
  }

  close(): void {
    this.kept?.session.destroy();
  }

  private ask(session: ClientHttp2Session, { path, method, headers, body }: Request): Promise<Answer | 'refused'> {
    return new Promise((resolve) => {
      const asking = session.request({
        [constants.HTTP2_HEADER_AUTHORITY]: this.stream.host,
        [constants.HTTP2_HEADER_METHOD]: method,
        [constants.HTTP2_HEADER_PATH]: path,
        ...headers,
      });
      const timer = setTimeout(() => asking.destroy(new Error('no answer within 15 s')), answerWithinMs);
      const settle = (settled: Answer | 'refused') => {
        clearTimeout(timer);
        resolve(settled);
      };
      asking.on('error', (error) => {
        settle(asking.rstCode === constants.NGHTTP2_REFUSED_STREAM ? 'refused' : noAnswer(error));
      });
      // Cancelled without an error, as a connection that ends does with what is under way.
      asking.on('close', () => settle(noAnswer(new Error(`closed with code ${asking.rstCode}`))));
      asking.on('response', (response) => {
        const text = bodyOf(asking);
        asking.on('end', () => settle(readAnswer(response[':status'], response, text())));
      });
      if (method === 'POST') asking.end(body);
    });
  }

  private connection(): { readonly session: ClientHttp2Session; used: boolean } {
    if (this.kept === null || this.kept.session.closed || this.kept.session.destroyed) this.kept = this.open();
    return this.kept;
  }

  private open(): { readonly session: ClientHttp2Session; used: boolean } {
    const { address, https: { port, trusted } = { port: 0, trusted: [] } } = this.target;
    const { host } = this.stream;
    const session = connect(`https://${host}:${port}`, {
      createConnection: () =>
        connectTls({ host: address, port, servername: host, ca: [...trusted], ALPNProtocols: ['h2'] }),
    });
    // Each of its requests says so itself.
    session.on('error', () => undefined);
    const opened = { session, used: false };
    // What is under way on it still gets its answer.
    session.on('goaway', () => {
      if (this.kept === opened) this.kept = null;
      session.close();
    });
    return opened;
  }
}
