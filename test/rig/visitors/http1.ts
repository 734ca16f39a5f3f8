import * as http from 'node:http';
import * as https from 'node:https';
import type { Socket } from 'node:net';
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

/** HTTP/1.1: one connection, or one for each request where the kind says so. */
export class Http1Connections implements Connections {
  private readonly agent: http.Agent;
  private readonly target: http.RequestOptions;
  private readonly request: typeof http.request;
  /** Those that have carried a request. */
  private readonly used = new WeakSet<Socket>();

  constructor({ address, port, https: secure }: Target, stream: Stream) {
    const options = stream.kind === 'new' ? { keepAlive: false } : { keepAlive: true, maxSockets: 1 };
    if (stream.protocol === 'https') {
      const trust = { ca: [...(secure?.trusted ?? [])], servername: stream.host };
      this.agent = new https.Agent({ ...options, ...trust });
      this.target = { host: address, port: secure?.port, headers: { host: stream.host } };
      this.request = https.request;
    } else {
      this.agent = new http.Agent(options);
      this.target = { host: address, port, headers: { host: stream.host } };
      this.request = http.request;
    }
  }

  send({ path, method, headers, body }: Request): Outgoing {
    const outgoing = this.request({
      ...this.target,
      agent: this.agent,
      path,
      method,
      headers: { ...this.target.headers, ...headers },
    });
    // Counted from when the request has its connection, so that one that waits in the queue is not dated too early.
    let begin = { at: Date.now(), reused: false, refused: 0 };
    outgoing.once('socket', (socket) => {
      begin = { ...begin, at: Date.now(), reused: this.used.has(socket) };
      this.used.add(socket);
    });
    return { answer: answerTo(outgoing, body), begin: () => begin };
  }

  close(): void {
    this.agent.destroy();
  }
}

function answerTo(outgoing: http.ClientRequest, body: string): Promise<Answer> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => outgoing.destroy(new Error('no answer within 15 s')), answerWithinMs);
    const settle = (answer: Answer) => {
      clearTimeout(timer);
      resolve(answer);
    };
    const fail = (error: Error) => settle(noAnswer(error));
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      const text = bodyOf(incoming);
      incoming.on('error', fail);
      incoming.on('end', () => settle(readAnswer(incoming.statusCode, incoming.headers, text())));
    });
    outgoing.end(body);
  });
}
