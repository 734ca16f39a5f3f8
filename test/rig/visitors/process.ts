/** The process of a load: sends what its parent asked for, on a clock of its own, until it is told to stop. */
import { type Answer, type FromChild, isFailure, type Load, type RequestRow, type ToChild } from './messages.js';
import { type Sent, Visitor } from './stream.js';

const tickMs = 5;
const progressEveryMs = 250;
const mostWaiting = 100;
const mostRequests = 500_000;
const lingerAfterLimitMs = 120_000;

const rows: RequestRow[] = [];
const answers: Answer[] = [];
const answerPlaces = new Map<string, number>();
let failed = 0;
let held = 0;
let endedByLimit = false;

// The terminal's Ctrl-C is for the parent, which stops this process.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToChild) => {
  if (message.kind === 'start') void run(message.load);
});

async function run(load: Load): Promise<void> {
  const visitors = load.streams.map((stream) => ({ stream, visitor: new Visitor(load.target, stream), sent: 0 }));
  const pending = new Set<Promise<void>>();
  const visit = (place: number, visitor: Visitor) => {
    const done = visitor.visit().then((sent) => {
      record(place, sent);
      pending.delete(done);
    });
    pending.add(done);
    return done;
  };

  await Promise.all(visitors.map(({ visitor }, place) => visit(place, visitor)));
  tell({ kind: 'running' });
  const startedAt = performance.now();
  const progress = setInterval(() => tell({ kind: 'progress', sent: rows.length, failed }), progressEveryMs);
  const clock = setInterval(() => {
    const elapsed = (performance.now() - startedAt) / 1000;
    if (elapsed > load.maxSeconds || rows.length > mostRequests) {
      endedByLimit = true;
      clearInterval(clock);
      setTimeout(() => process.exit(0), lingerAfterLimitMs);
      return;
    }
    for (const [place, entry] of visitors.entries()) {
      for (const due = Math.floor(elapsed * entry.stream.perSecond); entry.sent < due; entry.sent += 1) {
        if (entry.visitor.waiting >= mostWaiting) held += 1;
        else void visit(place, entry.visitor);
      }
    }
  }, tickMs);

  process.on('message', (message: ToChild) => {
    if (message.kind !== 'stop') return;
    clearInterval(clock);
    clearInterval(progress);
    void Promise.all(pending).then(() => {
      for (const { visitor } of visitors) visitor.close();
      tell({ kind: 'log', log: { rows, answers, held, endedByLimit } });
    });
  });
}

function record(stream: number, { at, ms, answer, reused, refused }: Sent): void {
  const key = JSON.stringify(answer);
  let place = answerPlaces.get(key);
  if (place === undefined) {
    place = answers.push(answer) - 1;
    answerPlaces.set(key, place);
  }
  if (isFailure(answer)) failed += 1;
  rows.push([at, ms, stream, place, reused ? 1 : 0, refused]);
}

function tell(message: FromChild): void {
  process.send?.(message);
}
