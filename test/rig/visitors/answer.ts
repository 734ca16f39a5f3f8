import type { IncomingHttpHeaders } from 'node:http';
import type { Answer } from './messages.js';

export const answerWithinMs = 15_000;
const largestBody = 1_000_000;

export interface Request {
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A request that was sent. */
export interface Outgoing {
  readonly answer: Promise<Answer>;
  /** When it began, whether its connection had carried one before, and how often it was refused and sent again. */
  begin(): { readonly at: number; readonly reused: boolean; readonly refused: number };
}

/** Connections to one target, which a visitor's requests share as its kind says. */
export interface Connections {
  send(request: Request): Outgoing;
  close(): void;
}

/** What was read of a body so far. */
export function bodyOf(readable: NodeJS.ReadableStream): () => string {
  let body = '';
  readable.setEncoding('utf8');
  readable.on('data', (chunk: string) => {
    if (body.length < largestBody) body += chunk;
  });
  return () => body;
}

const nobody = { environment: null, component: null, color: null, sha: null } as const;

export function readAnswer(status: number | undefined, headers: IncomingHttpHeaders, body: string): Answer {
  return {
    status: status ?? null,
    error: null,
    setCookie: headers['set-cookie']?.join('\n') ?? null,
    ...identityIn(body),
    ...colorIn(headers['x-app']),
  };
}

export const noAnswer = (error: Error): Answer => ({ ...nobody, status: null, error: codeOf(error), setCookie: null });

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

/** The tests' own app says its instance's name in a header. */
function colorIn(instance: string | readonly string[] | undefined): { readonly color?: string } {
  const color = /-(blue|green)$/.exec(String(instance ?? ''))?.[1];
  return color === undefined ? {} : { color };
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
