import type { Connections } from './answer.js';
import { Http1Connections } from './http1.js';
import { Http2Connections } from './http2.js';
import type { Answer, Stream, Target } from './messages.js';

export interface Sent {
  readonly at: number;
  readonly ms: number;
  readonly answer: Answer;
  readonly reused: boolean;
  /** How often it was refused and sent again. */
  readonly refused: number;
}

/** One visitor: how it holds its connection and its cookies. */
export class Visitor {
  waiting = 0;
  private readonly connections: Connections;
  private readonly cookies = new Map<string, string>();

  constructor(
    target: Target,
    private readonly stream: Stream,
  ) {
    this.connections =
      stream.protocol === 'h2' ? new Http2Connections(target, stream) : new Http1Connections(target, stream);
  }

  /** Sends one request and answers what came of it; never throws. */
  async visit(): Promise<Sent> {
    this.waiting += 1;
    const { path, method = 'GET' } = this.stream;
    const body = method === 'POST' ? 'a=b' : '';
    const outgoing = this.connections.send({ path, method, headers: this.headers(body), body });
    const answer = await outgoing.answer;
    const { at, reused, refused } = outgoing.begin();
    this.waiting -= 1;
    this.keepCookies(answer.setCookie);
    return { at, ms: Date.now() - at, answer, reused, refused };
  }

  close(): void {
    this.connections.close();
  }

  private headers(body: string): Readonly<Record<string, string>> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    return {
      accept: 'application/json',
      ...(cookie !== '' && { cookie }),
      ...(body !== '' && { 'content-length': String(Buffer.byteLength(body)) }),
    };
  }

  private keepCookies(setCookie: string | null): void {
    if (this.stream.kind !== 'cookie' || setCookie === null) return;
    for (const line of setCookie.split('\n')) {
      const match = /^([^=;\s]+)=([^;]*)(.*)$/.exec(line);
      if (!match?.[1]) continue;
      if (/max-age=0|expires=thu, 01[ -]jan[ -]1970/i.test(match[3] ?? '')) this.cookies.delete(match[1]);
      else this.cookies.set(match[1], match[2] ?? '');
    }
  }
}
