/** What the load's process and its parent say to each other, compact: a long load is one message at its end. */

export type StreamKind = 'keep-alive' | 'new' | 'cookie';

/** `h2` is HTTP/2 over https, `https` HTTP/1.1 over it. */
export type Protocol = 'http' | 'https' | 'h2';

export interface Stream {
  /** Sent as the Host header. */
  readonly host: string;
  readonly path: string;
  /**
   * `keep-alive`: one connection, reused as long as the server lets it. `new`: a connection for each request.
   * `cookie`: like keep-alive, and it sends back the cookies that it was given.
   */
  readonly kind: StreamKind;
  /** `http` where it is not given. */
  readonly protocol?: Protocol;
  /** GET where it is not given; a POST has a small body. */
  readonly method?: 'GET' | 'POST';
  readonly perSecond: number;
  /** The environment that must answer; an answer of another one is listed in the report. */
  readonly environment?: string;
}

export interface Target {
  readonly address: string;
  readonly port: number;
  /** Where https is, and the only certificates that are trusted there. */
  readonly https?: { readonly port: number; readonly trusted: readonly string[] };
}

export interface Load {
  readonly target: Target;
  readonly streams: readonly Stream[];
  readonly maxSeconds: number;
}

/** Everything about an answer that repeats itself; requests refer to it by its place in the list. */
export interface Answer {
  readonly status: number | null;
  readonly error: string | null;
  readonly environment: string | null;
  readonly component: string | null;
  readonly color: string | null;
  readonly sha: string | null;
  readonly setCookie: string | null;
}

/** Start (ms since the epoch), duration in ms, place of the stream, place of the answer, 1 where the connection was reused, how often it was refused and sent again. */
export type RequestRow = readonly [
  at: number,
  ms: number,
  stream: number,
  answer: number,
  reused: 0 | 1,
  refused: number,
];

export interface Log {
  readonly rows: readonly RequestRow[];
  readonly answers: readonly Answer[];
  /** Requests not sent, because too many of their stream were still waiting for an answer. */
  readonly held: number;
  /** The load ended by `maxSeconds` or by its count, not by `stop`. */
  readonly endedByLimit: boolean;
}

export type ToChild = { readonly kind: 'start'; readonly load: Load } | { readonly kind: 'stop' };
export type FromChild =
  | { readonly kind: 'running' }
  | { readonly kind: 'progress'; readonly sent: number; readonly failed: number }
  | { readonly kind: 'log'; readonly log: Log };

export const isFailure = (answer: Answer): boolean => answer.error !== null || (answer.status ?? 0) >= 400;
