import { type Answer, isFailure, type Load, type Log, type Protocol, type Stream } from './messages.js';

const mostListed = 20;

export interface VisitorRequest extends Answer {
  /** When it was sent, in ms since the epoch. */
  readonly at: number;
  readonly ms: number;
  readonly host: string;
  readonly path: string;
  readonly kind: Stream['kind'];
  readonly protocol: Protocol;
  readonly method: 'GET' | 'POST';
  /** The connection had carried a request before. */
  readonly reused: boolean;
  /** How often an HTTP/2 connection that was about to end refused it, so that it was sent again. */
  readonly refused: number;
}

/** A release that answered on a host: how often, and the time (ms since the epoch) of its first and last request. */
export interface Answered {
  readonly host: string;
  readonly color: string | null;
  readonly sha: string | null;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

export interface Report {
  readonly sent: number;
  readonly failed: number;
  /** Not sent, because 100 requests of the stream were waiting for an answer. */
  readonly held: number;
  /** The load ended by `maxSeconds`, before `stop`: what came after was not visited. */
  readonly endedByLimit: boolean;
  /** The first 20 requests without an answer or with a status of 400 and above. */
  readonly failures: readonly VisitorRequest[];
  readonly wrongEnvironment: number;
  /** The first 20 answers of an environment that is not the stream's. */
  readonly wrongEnvironmentAnswers: readonly VisitorRequest[];
  /** One entry for each host, color and sha that answered, in the order of their first answers. Without failures. */
  readonly answered: readonly Answered[];
  /** As `answered`, but a new entry each time a host's answers change over: a release that comes back is seen twice. */
  readonly timeline: readonly Answered[];
  /** Every request, by the time it was sent. */
  readonly requests: readonly VisitorRequest[];
}

/** Draws the sums out of a load's log. */
export function reportOf(load: Load, log: Log): Report {
  const requests = readRows(load, log);
  const failures = requests.filter(isFailure);
  const good = requests.filter((request) => !isFailure(request));
  const expected = new Map(load.streams.map((stream) => [`${stream.host}${stream.path}`, stream.environment]));
  const wrong = good.filter((request) => {
    const environment = expected.get(`${request.host}${request.path}`);
    return environment !== undefined && environment !== request.environment;
  });
  return {
    sent: requests.length,
    failed: failures.length,
    held: log.held,
    endedByLimit: log.endedByLimit,
    failures: failures.slice(0, mostListed),
    wrongEnvironment: wrong.length,
    wrongEnvironmentAnswers: wrong.slice(0, mostListed),
    answered: group(good, false),
    timeline: group(good, true),
    requests,
  };
}

function readRows(load: Load, log: Log): VisitorRequest[] {
  const requests: VisitorRequest[] = [];
  for (const [at, ms, streamPlace, answerPlace, reused, refused] of log.rows) {
    const stream = load.streams[streamPlace];
    const answer = log.answers[answerPlace];
    if (!stream || !answer) throw new Error('a row of the load refers to a stream or answer that is not there');
    const { host, path, kind, protocol = 'http', method = 'GET' } = stream;
    requests.push({ at, ms, host, path, kind, protocol, method, reused: reused === 1, refused, ...answer });
  }
  return requests.sort((a, b) => a.at - b.at);
}

function group(requests: readonly VisitorRequest[], anewOnChange: boolean): Answered[] {
  const groups: { -readonly [K in keyof Answered]: Answered[K] }[] = [];
  const open = new Map<string, (typeof groups)[number]>();
  for (const { host, color, sha, at } of requests) {
    const key = anewOnChange ? host : JSON.stringify([host, color, sha]);
    let current = open.get(key);
    if (!current || current.color !== color || current.sha !== sha) {
      current = { host, color, sha, count: 0, firstAt: at, lastAt: at };
      groups.push(current);
      open.set(key, current);
    }
    current.count += 1;
    current.lastAt = at;
  }
  return groups;
}
