import { type IncomingHttpHeaders, request } from 'node:http';
import { request as requestTls } from 'node:https';

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
