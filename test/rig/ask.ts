import { type IncomingHttpHeaders, request } from 'node:http';

const answerWithinMs = 10_000;

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

/** One request of a visitor over a connection of its own. Throws where no answer came within 10 s. */
export function ask(
  target: { readonly address: string; readonly port: number },
  host: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request({
      host: target.address,
      port: target.port,
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
