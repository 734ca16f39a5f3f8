import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const answerWithinMs = 15_000;

/** Requests of one kind, so many a second. */
export interface Stream {
  readonly host: string;
  readonly path: string;
  /** `new` opens a connection for each request, the others keep theirs; `cookie` sends back what it was given. */
  readonly kind: 'keep-alive' | 'new' | 'cookie';
  readonly perSecond: number;
  readonly environment: string;
}

/** Who answered how many requests for a host, and when first and last (ms since the epoch). */
export interface Answered {
  readonly host: string;
  readonly environment: string;
  readonly color: string;
  readonly sha: string;
  count: number;
  readonly firstAt: number;
  lastAt: number;
}

export interface LoadReport {
  readonly sent: number;
  readonly failures: readonly string[];
  readonly answered: readonly Answered[];
  /** Answers that came from another environment than the one that was asked. */
  readonly fromElsewhere: number;
}

/** Sends requests to a port of this machine until it is stopped, for `maxSeconds` at most. */
export function startLoad(
  port: number,
  streams: readonly Stream[],
  maxSeconds: number,
): { stop(): Promise<LoadReport> } {
  const until = Date.now() + maxSeconds * 1_000;
  const stopped = new AbortController();
  const answered = new Map<string, Answered>();
  const failures: string[] = [];
  let sent = 0;
  let fromElsewhere = 0;

  async function run({ host, path, kind, perSecond, environment }: Stream): Promise<void> {
    const agent = new Agent(kind === 'new' ? { keepAlive: false } : { keepAlive: true, maxSockets: 4 });
    const underway = new Set<Promise<void>>();
    let cookie = '';
    const ask = async (): Promise<void> => {
      try {
        const answer = await request(port, { agent, path, headers: { host, ...(cookie && { cookie }) } });
        if (kind === 'cookie') cookie = answer.cookie ?? cookie;
        note(host, answer.identity);
        if (answer.identity.environment !== environment) fromElsewhere += 1;
      } catch (error) {
        failures.push(`${host}${path}: ${String(error)}`);
      }
    };
    while (!stopped.signal.aborted && Date.now() < until) {
      sent += 1;
      const asked = ask();
      underway.add(asked);
      void asked.then(() => underway.delete(asked));
      await sleep(1_000 / perSecond, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
    await Promise.all(underway);
    agent.destroy();
  }

  function note(host: string, { environment, color, sha }: Identity): void {
    const key = `${host} ${environment} ${color} ${sha}`;
    const at = Date.now();
    const known = answered.get(key) ?? { host, environment, color, sha, count: 0, firstAt: at, lastAt: at };
    known.count += 1;
    known.lastAt = at;
    answered.set(key, known);
  }

  const running = Promise.all(streams.map(run));
  return {
    async stop() {
      stopped.abort();
      await running;
      return { sent, failures, answered: [...answered.values()], fromElsewhere };
    },
  };
}

/** Who the demo service says that it is. */
interface Identity {
  readonly environment: string;
  readonly color: string;
  readonly sha: string;
}

function request(
  port: number,
  options: { readonly agent: Agent; readonly path: string; readonly headers: Readonly<Record<string, string>> },
): Promise<{ readonly identity: Identity; readonly cookie: string | undefined }> {
  return new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, timeout: answerWithinMs, ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        if (response.statusCode !== 200) return reject(new Error(`HTTP ${response.statusCode}`));
        const cookie = response.headers['set-cookie']?.[0]?.split(';')[0];
        resolve({ identity: JSON.parse(Buffer.concat(chunks).toString('utf8')) as Identity, cookie });
      });
    });
    asked.on('error', reject);
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${answerWithinMs / 1_000} s`)));
  });
}
