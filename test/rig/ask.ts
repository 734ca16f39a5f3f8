import { type IncomingHttpHeaders, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { identityIn } from './visitors/answer.js';
import type { Answer as VisitorAnswer } from './visitors/messages.js';

const answerWithinMs = 10_000;

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

export interface AskTarget {
  readonly address: string;
  readonly port: number;
  /** Certificates to trust, where it is to be asked over https. */
  readonly trusted?: readonly string[];
}

/** One request of a visitor over a connection of its own. Throws where no answer came within 10 s. */
export function ask(
  target: AskTarget,
  host: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { address, port, trusted } = target;
    const asking = (trusted ? requestTls : request)({
      host: address,
      port,
      ...(trusted && { ca: [...trusted], servername: host }),
      path,
      agent: false,
      headers: { ...headers, Host: host },
      signal: AbortSignal.timeout(answerWithinMs),
    });
    asking.on('error', reject);
    asking.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
    });
    asking.end();
  });
}

export interface OneAnswer extends Pick<VisitorAnswer, 'environment' | 'component' | 'color' | 'sha'> {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** One request on a connection of its own, and which release answered it. Throws where no answer came within 10 s. */
export async function visitOnce(visit: {
  address: string;
  port: number;
  path: string;
  host?: string;
}): Promise<OneAnswer> {
  const { status, headers, body } = await ask(visit, visit.host ?? visit.address, visit.path);
  return { status, headers, ...identityIn(body) };
}
