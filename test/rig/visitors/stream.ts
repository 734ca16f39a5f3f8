import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Answer, Load, Stream } from './messages.js';

const answerWithinMs = 15_000;
const largestBody = 1_000_000;

export interface Sent {
  readonly at: number;
  readonly ms: number;
  readonly answer: Answer;
  readonly reused: boolean;
}

/** One visitor: how it holds its connection and its cookies. */
export class Visitor {
  waiting = 0;
  private readonly agent: Agent;
  private readonly cookies = new Map<string, string>();

  constructor(
    private readonly target: Load['target'],
    private readonly stream: Stream,
  ) {
    this.agent =
      stream.kind === 'new' ? new Agent({ keepAlive: false }) : new Agent({ keepAlive: true, maxSockets: 1 });
  }

  /** Sends one request and answers what came of it; never throws. */
  async visit(): Promise<Sent> {
    this.waiting += 1;
    // Counted from when the request has its connection, so that one that waits in the queue is not dated too early.
    let startedAt = Date.now();
    let reused = false;
    const outgoing = this.open();
    outgoing.once('socket', () => {
      startedAt = Date.now();
      reused = outgoing.reusedSocket;
    });
    const answer = await answerTo(outgoing);
    this.waiting -= 1;
    this.keepCookies(answer.setCookie);
    return { at: startedAt, ms: Date.now() - startedAt, answer, reused };
  }

  close(): void {
    this.agent.destroy();
  }

  private open(): ClientRequest {
    const headers: Record<string, string> = { host: this.stream.host, accept: 'application/json' };
    if (this.cookies.size > 0) headers.cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    return request({
      agent: this.agent,
      host: this.target.address,
      port: this.target.port,
      path: this.stream.path,
      headers,
    });
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

function answerTo(outgoing: ClientRequest): Promise<Answer> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => outgoing.destroy(new Error('no answer within 15 s')), answerWithinMs);
    const settle = (answer: Answer) => {
      clearTimeout(timer);
      resolve(answer);
    };
    const fail = (error: Error) => settle({ ...nobody, status: null, error: codeOf(error), setCookie: null });
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      let body = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        if (body.length < largestBody) body += chunk;
      });
      incoming.on('error', fail);
      incoming.on('end', () => settle(readAnswer(incoming, body)));
    });
    outgoing.end();
  });
}

const nobody = { environment: null, component: null, color: null, sha: null } as const;

function readAnswer(incoming: IncomingMessage, body: string): Answer {
  return {
    status: incoming.statusCode ?? null,
    error: null,
    setCookie: incoming.headers['set-cookie']?.join('\n') ?? null,
    ...identityIn(body),
  };
}

/** Who answered, as the demo service says it; an error page of the edge names nobody. */
export function identityIn(body: string): Pick<Answer, 'environment' | 'component' | 'color' | 'sha'> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return nobody;
  }
  if (typeof parsed !== 'object' || parsed === null) return nobody;
  const values = new Map<string, unknown>(Object.entries(parsed));
  const text = (name: string): string | null => {
    const value = values.get(name);
    return typeof value === 'string' ? value : null;
  };
  return { environment: text('environment'), component: text('component'), color: text('color'), sha: text('sha') };
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
