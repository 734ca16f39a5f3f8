import type { IncomingHttpHeaders } from 'node:http';
import { ask } from './ask.js';
import { identityIn } from './visitors/answer.js';
import type { Answer } from './visitors/messages.js';

export interface OneAnswer extends Pick<Answer, 'environment' | 'component' | 'color' | 'sha'> {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** One request on a connection of its own, and who answered it. Throws where no answer came within 10 s. */
export async function visitOnce(visit: {
  address: string;
  port: number;
  path: string;
  host?: string;
}): Promise<OneAnswer> {
  const { status, headers, body } = await ask(visit, visit.host ?? visit.address, visit.path);
  return { status, headers, ...identityIn(body) };
}
