import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker, type WorkflowBundleOption } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { describe, expect, inject, test } from 'vitest';
import { withoutNotifications } from '../rig/temporal.js';
import { recordHistories } from './rig/histories.js';

/**
 * Histories of workflows as they run in production: a change of the workflows that can't replay them would break what
 * is in the middle of its work while the worker is updated. `UPDATE_HISTORIES=missing` writes those that are not there,
 * `UPDATE_HISTORIES=all` writes all anew, on purpose.
 */
const directory = fileURLToPath(new URL('./histories/', import.meta.url));

const namesOf = async (): Promise<string[]> =>
  (await readdir(directory))
    .filter((file) => file.endsWith('.json'))
    .map((file) => basename(file, '.json'))
    .sort();
const read = async (name: string): Promise<History> =>
  JSON.parse(await readFile(join(directory, `${name}.json`), 'utf8'));

/** Replays histories by one worker, and answers what it finds wrong with each, null where that is nothing. */
async function replay(
  histories: readonly History[],
  workflowBundle: WorkflowBundleOption,
): Promise<(string | null | undefined)[]> {
  const wrong = new Map<string, string | null>();
  const replays = histories.map((history) => ({ workflowId: startOf(history).workflowId, history }));
  for await (const { runId, error } of Worker.runReplayHistories(
    { workflowBundle, sinks: withoutNotifications },
    replays,
  )) {
    wrong.set(runId, error === undefined ? null : error.name);
  }
  return histories.map((history) => wrong.get(startOf(history).originalExecutionRunId));
}

interface Payloads {
  readonly payloads?: readonly { readonly data?: string }[];
}

interface Start {
  readonly workflowId: string;
  readonly originalExecutionRunId: string;
  readonly workflowType: { readonly name: string };
  readonly input?: Payloads;
}

interface Ended {
  readonly outcome: string;
  readonly code: string;
}

interface History {
  readonly events: readonly {
    readonly workflowExecutionStartedEventAttributes?: Start;
    readonly workflowExecutionCompletedEventAttributes?: { readonly result?: Payloads };
    readonly workflowExecutionFailedEventAttributes?: {
      readonly failure: { readonly applicationFailureInfo?: { readonly details?: Payloads } };
    };
    readonly workflowExecutionContinuedAsNewEventAttributes?: object;
    readonly workflowExecutionCancelRequestedEventAttributes?: object;
    readonly activityTaskScheduledEventAttributes?: { readonly activityType: { readonly name: string } };
  }[];
}

function startOf({ events }: History): Start {
  const start = events[0]?.workflowExecutionStartedEventAttributes;
  if (!start) throw new Error('a history begins with its start');
  return start;
}

const decoded = <T>({ payloads = [] }: Payloads = {}): T | null =>
  payloads[0]?.data ? JSON.parse(Buffer.from(payloads[0].data, 'base64').toString()) : null;

/** What was done, in more detail than the workflow's type says. */
function kindOf(history: History): string {
  const { workflowType, input } = startOf(history);
  const isFull = history.events.some(
    ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType.name === 'pinRelease',
  );
  const isRolling = history.events.some(
    ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType.name === 'drainInstance',
  );
  if (isRolling) return `rolling ${workflowType.name}`;
  switch (workflowType.name) {
    case 'rollback':
      return isFull ? 'full rollback' : 'fast rollback';
    case 'switchEdge':
      return `edge change: ${decoded<{ kind: string }>(input)?.kind}`;
    default:
      return workflowType.name;
  }
}

/** How it ended, in more detail than `failed` where that is a way of its own through the workflow. */
function outcomeOf({ events }: History): string {
  const last = events.at(-1);
  if (last?.workflowExecutionContinuedAsNewEventAttributes) return 'continued as new';
  const { workflowExecutionFailedEventAttributes: failed, workflowExecutionCompletedEventAttributes: completed } =
    last ?? {};
  if (!failed && !completed) return 'goes on';
  const result = failed
    ? decoded<{ result?: Ended }>(failed.failure.applicationFailureInfo?.details)?.result
    : decoded<Ended>(completed?.result);
  if (failed && !result) return 'failed';
  if (!result) return 'refused';
  if (events.some((event) => event.workflowExecutionCancelRequestedEventAttributes)) return 'cancelled';
  return ['aborted', 'rolled-back', 'edge-change-timed-out'].includes(result.code) ? result.code : result.outcome;
}

/** Each kind and outcome: a history, or why there is none. */
const families: readonly {
  readonly kinds: readonly string[];
  readonly outcomes: Readonly<Record<string, (kind: string) => string | null>>;
}[] = [
  {
    kinds: ['deploy', 'rolling deploy', 'fast rollback', 'full rollback', 'rolling rollback', 'switch', 'cleanup'],
    outcomes: {
      succeeded: () => null,
      failed: () => null,
      aborted: () => null,
      'needs-operator': () => null,
      'rolled-back': (kind) =>
        kind.endsWith('deploy')
          ? null
          : 'a rollback ends a cleanup as aborted, and waits for what is neither that nor a deploy',
      cancelled: (kind) => (kind === 'deploy' ? null : 'the way of a deploy, and of what is aborted'),
      superseded: () => 'it never ran: its environment alone knows of it (environment.queue)',
    },
  },
  {
    kinds: ['failoverTest'],
    outcomes: {
      succeeded: () => null,
      failed: () => null,
      aborted: () => null,
      'needs-operator': () => null,
      cancelled: () => 'the way of what is aborted',
    },
  },
  {
    kinds: ['scheduledFailoverTest'],
    outcomes: { succeeded: () => null, failed: () => null },
  },
  {
    kinds: ['edge change: color', 'edge change: stand-down', 'edge change: apply', 'edge change: certificates'],
    outcomes: {
      succeeded: () => null,
      failed: () => null,
      withdrawn: () => null,
      'needs-operator': () => null,
      'edge-change-timed-out': () => 'two minutes on a clock that nobody can set; the way of a withdrawal',
      cancelled: () => 'the way of a withdrawal',
    },
  },
  {
    kinds: ['certificates', 'certificate', 'apply', 'revokeCertificate', 'adoptCertificates'],
    outcomes: {
      succeeded: () => null,
      failed: () => null,
      'needs-operator': (kind) => (kind === 'revokeCertificate' ? 'it asks nothing of the edge' : null),
      cancelled: () => null,
    },
  },
  {
    kinds: ['provision'],
    outcomes: {
      succeeded: () => null,
      failed: () => null,
      'needs-operator': () => null,
      cancelled: () => null,
    },
  },
  {
    kinds: ['environment', 'edge'],
    outcomes: {
      'goes on': () => null,
      'continued as new': () => null,
      refused: (kind) => (kind === 'environment' ? null : 'an edge is refused before it has a history'),
    },
  },
];

const update = process.env.UPDATE_HISTORIES;
if (update) {
  test('histories are written', { timeout: 300_000 }, async () => {
    if (update !== 'missing') await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    const there = await namesOf();
    await recordHistories(
      (name) => !there.includes(name),
      (name, history) => writeFile(join(directory, `${name}.json`), history),
    );
  });
} else {
  const names = await namesOf();

  test('the workflows replay each of them', async () => {
    const wrong = await replay(await Promise.all(names.map(read)), { codePath: inject('workflowBundle') });
    expect(Object.fromEntries(names.map((name, index) => [name, wrong[index]]))).toEqual(
      Object.fromEntries(names.map((name) => [name, null])),
    );
  });

  test('there is a history of each kind of workflow in each of its outcomes, or a reason why there is none', async () => {
    const found = new Set<string>();
    for (const name of names) {
      const history = await read(name);
      found.add(`${kindOf(history)}, ${outcomeOf(history)}`);
    }
    const wanted = families.flatMap(({ kinds, outcomes }) =>
      kinds.flatMap((kind) =>
        Object.entries(outcomes).flatMap(([outcome, whyNone]) =>
          whyNone(kind) === null ? [`${kind}, ${outcome}`] : [],
        ),
      ),
    );
    expect([...found].sort()).toEqual(wanted.sort());
  });

  describe('a change that running operations could not follow', () => {
    const types = [
      ...['adoptCertificates', 'apply', 'certificate', 'certificates', 'revokeCertificate'],
      ...['cleanup', 'deploy', 'edge', 'environment', 'rollback', 'switch', 'switchEdge'],
      ...['failoverTest', 'provision', 'scheduledFailoverTest'],
    ];
    const historyOf = (type: string) => read(names.find((name) => name.startsWith(`${type}.`)) ?? '');
    /** The workflows as somebody may change them: with one more command at their beginning. */
    async function changed(isPatched: boolean) {
      const code = await readFile(inject('workflowBundle'), 'utf8');
      const end = code.lastIndexOf('//# sourceMappingURL');
      const change = `
        const { importWorkflows } = __TEMPORAL__;
        const isTaken = () => !${isPatched} || __TEMPORAL_ACTIVATOR__.patchInternal('one more command', false);
        const changed = (run) => async (...args) => {
          if (isTaken()) await new Promise((resolve) => setTimeout(resolve, 1));
          return run(...args);
        };
        __TEMPORAL__.importWorkflows = () =>
          Object.fromEntries(Object.entries(importWorkflows()).map(([type, run]) => [type, changed(run)]));
      `;
      return { code: `${code.slice(0, end)}${change}\n${code.slice(end)}` };
    }

    test('is looked for in every type of workflow but inspect, which changes nothing and is asked anew', async () => {
      const index = await readFile(new URL('../../src/workflows/index.ts', import.meta.url), 'utf8');
      const exported = [...index.matchAll(/(\w+) \}/g)].map(([, name]) => name);
      expect(exported.sort()).toEqual([...types, 'inspect'].sort());
    });

    test.each([
      { title: 'is caught in each type of workflow', isPatched: false, wrong: DeterminismViolationError.name },
      { title: 'is none if it is patched', isPatched: true, wrong: null },
    ])('$title', async ({ isPatched, wrong }) => {
      const found = await replay(await Promise.all(types.map(historyOf)), await changed(isPatched));
      expect(Object.fromEntries(types.map((type, index) => [type, found[index]]))).toEqual(
        Object.fromEntries(types.map((type) => [type, wrong])),
      );
    });
  });
}
