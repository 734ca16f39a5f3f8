import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Client } from '@temporalio/client';
import type { OperationResult } from '../../src/domain/operation.js';
import { until } from './chaos.js';
import type { Project } from './project.js';

/** Which release visitors of prod are given, and the one before it, where it still stands by. */
export interface Before {
  readonly color: 'blue' | 'green';
  readonly sha: string;
  readonly standby: string;
}

/** A kind of operation on prod whose worker is killed in each of its activities. */
export interface Kind {
  readonly name: string;
  /** Every activity that it runs, as often as it does, in the order in which they begin. */
  readonly activities: readonly string[];
  /** Killed from this activity on, and only up to that one: the rest is what another kind runs too. */
  readonly killedFrom?: string;
  readonly killedUpTo?: string;
  /** Temporal knows nothing of the environment, as when its database was lost. */
  readonly isFirst?: boolean;
  /** Whether the release that is deployed has a fault, and which. */
  readonly fault?: 'unhealthy' | 'sick when visited' | 'wrong on one host';
  readonly args: (before: Before, next: string) => readonly string[];
  readonly ends: {
    readonly exitCode: number;
    readonly outcome: OperationResult['outcome'];
    readonly code: string | null;
  };
  /** What visitors are given afterwards. */
  readonly serves: (before: Before, next: string) => { readonly color: 'blue' | 'green'; readonly sha: string };
  /** Nothing is left of the other color. */
  readonly empties?: boolean;
  /** The release that stands by afterwards. */
  readonly standsBy: (before: Before) => string | null;
}

/** Of prod, and visited by nobody but the proof of a switch. */
export const unvisitedHost = 'unvisited.localhost';

const request = ['requestEdgeChange', 'readEdge', 'renderConfig'];
/** Those that every change of the edge runs. */
export const edgeChange = [...request, 'stageConfig', 'installConfig', 'reloadEdge', 'verifyTraffic', 'recordColor'];
const recreated = [
  'pinRelease',
  ...edgeChange,
  'drainColor',
  ...['fetchArtifact', 'fetchArtifact'],
  ...['recreateInstance', 'recreateInstance'],
];
const healthy = ['startInstance', 'startInstance', 'waitUntilUpOnEdge'];

const succeeded = { exitCode: 0, outcome: 'succeeded', code: null } as const;
const failed = (code: string) => ({ exitCode: 1, outcome: 'failed', code }) as const;
const other = (color: 'blue' | 'green') => (color === 'blue' ? 'green' : 'blue');
const asBefore = ({ color, sha }: Before) => ({ color, sha });
const nobody = () => null;

const deploy: Kind = {
  name: 'deploy',
  activities: [...recreated, 'migrate', ...healthy, ...edgeChange, 'watchSoak'],
  args: (_, next) => ['deploy', 'prod', next],
  ends: succeeded,
  serves: ({ color }, next) => ({ color: other(color), sha: next }),
  standsBy: ({ sha }) => sha,
};

export const kinds: readonly Kind[] = [
  deploy,
  {
    ...deploy,
    name: 'first deploy that Temporal knows of',
    activities: ['knownEnvironments', ...deploy.activities],
    killedUpTo: 'knownEnvironments',
    isFirst: true,
  },
  {
    name: 'switch',
    activities: ['planSwitch', ...edgeChange],
    args: ({ color }) => ['switch', 'prod', other(color)],
    ends: succeeded,
    serves: ({ color, standby }) => ({ color: other(color), sha: standby }),
    // What was below in the history: so it is a way back.
    standsBy: nobody,
  },
  {
    name: 'rollback, fast',
    activities: ['planRollback', ...edgeChange],
    args: ({ standby }) => ['rollback', 'prod', '--to', standby, '--yes'],
    ends: succeeded,
    serves: ({ color, standby }) => ({ color: other(color), sha: standby }),
    standsBy: nobody,
  },
  {
    name: 'rollback, full',
    activities: ['planRollback', ...recreated, ...healthy, ...edgeChange],
    args: ({ standby }) => ['rollback', 'prod', '--to', standby, '--full', '--yes'],
    ends: succeeded,
    serves: ({ color, standby }) => ({ color: other(color), sha: standby }),
    standsBy: nobody,
  },
  {
    name: 'cleanup',
    activities: ['planCleanup', ...edgeChange, 'drainColor', 'removeInstance', 'removeInstance'],
    args: () => ['cleanup', 'prod', '--standby'],
    ends: succeeded,
    serves: asBefore,
    empties: true,
    standsBy: nobody,
  },
  {
    name: 'deploy of a release that does not start',
    activities: [...recreated, 'migrate', 'startInstance', 'startInstance', 'markFailed'],
    killedFrom: 'startInstance',
    fault: 'unhealthy',
    args: (_, next) => ['deploy', 'prod', next],
    ends: failed('instance-unhealthy'),
    serves: asBefore,
    standsBy: nobody,
  },
  {
    name: 'deploy that is switched back in its soak',
    activities: [
      ...[...recreated, 'migrate', ...healthy, ...edgeChange, 'watchSoak'],
      ...['withdrawEdgeChange', ...edgeChange, 'markFailed'],
    ],
    killedFrom: 'watchSoak',
    fault: 'sick when visited',
    args: (_, next) => ['deploy', 'prod', next, '--soak', '2m'],
    ends: failed('unhealthy-in-soak'),
    serves: asBefore,
    standsBy: nobody,
  },
  {
    name: 'deploy whose switch is taken back',
    activities: [
      ...[...recreated, 'migrate', ...healthy],
      ...[...edgeChange.slice(0, -1), 'restoreConfig', 'reloadRestored', 'unstageConfig'],
      ...['withdrawEdgeChange', 'markFailed'],
    ],
    killedFrom: 'restoreConfig',
    fault: 'wrong on one host',
    args: (_, next) => ['deploy', 'prod', next],
    ends: failed('traffic-not-verified'),
    serves: asBefore,
    standsBy: nobody,
  },
];

/** Activities that none of the kinds runs, and why. */
export const notKilledHere: Readonly<Record<string, string>> = {
  awaitCertificate: 'only where another command obtains the same certificate',
  inspect: 'reads what status, logs and doctor show',
  disownInstances: 'only where a cleanup is stopped as it removes',
  restoreColors: 'only where recording fails for good',
  markNeedsOperator: 'only where a take-back fails for good',
  ...Object.fromEntries(
    [
      ...['drainInstance', 'retakeInstance', 'replaceRelease', 'admitInstance', 'leaveFailed'],
      ...['recordReleases', 'pruneInstances'],
      ...['planFailoverTest', 'visitPool', 'stopByForce', 'waitUntilDown', 'startAgain', 'waitUntilUpAgain'],
      'runFailoverTest',
    ].map((activity) => [activity, 'of instances side by side, or of a failover test: kill-side-by-side.test.ts']),
  ),
  ...Object.fromEntries(
    [
      ...['planProvision', 'seeConfiguration', 'makeIncusProject', 'makeStoragePool', 'makeNetwork', 'makeProfile'],
      ...['launchEdge', 'installPackages', 'makeFolders', 'startHaproxy', 'leadPorts'],
    ].map((activity) => [activity, 'of a provisioning, which needs Incus: test/incus/provision.test.ts']),
  ),
  launchSideBySide: 'of a provisioning, which needs Incus: test/incus/lab.test.ts',
  ...killedWithCertificates([
    'planCertificates',
    'awaitCertificate',
    'revokeCertificate',
    'adoptCertificates',
    'checkNames',
    'registerAccount',
    'placeOrder',
    'answerChallenges',
    'finalizeOrder',
    'downloadCertificate',
    'closeOrder',
  ]),
};

/** They need an authority, and no environment runs them. */
function killedWithCertificates(activities: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(activities.map((activity) => [activity, 'of certificates: kill-certificates.test.ts']));
}

/** The nth execution of an activity. */
export interface Row {
  readonly activity: string;
  readonly nth: number;
  readonly times: number;
}

/** Where a kind's worker is killed: each execution of each activity that it runs. */
export function rowsOf({
  activities,
  killedFrom,
  killedUpTo,
}: Pick<Kind, 'activities' | 'killedFrom' | 'killedUpTo'>): readonly Row[] {
  const rows = activities.map((activity, index) => ({
    activity,
    nth: activities.slice(0, index + 1).filter((one) => one === activity).length,
    times: activities.filter((one) => one === activity).length,
  }));
  const from = killedFrom === undefined ? 0 : activities.indexOf(killedFrom);
  const upTo = killedUpTo === undefined ? activities.length - 1 : activities.lastIndexOf(killedUpTo);
  return rows.slice(from, upTo + 1);
}

/**
 * The activities that an operation ran by Temporal's own record, those of its children and its changes of the edge among
 * them; no local ones.
 */
export async function activitiesOf(
  client: Client,
  operation: Pick<OperationResult, 'operation' | 'startedAt'>,
  children: readonly string[] = [],
): Promise<readonly string[]> {
  const own = (await Promise.all([operation.operation, ...children].map((id) => scheduledBy(client, id)))).flat();
  const asked = own.filter((name) => name === 'requestEdgeChange').length;
  const changes = await until(`Temporal shows ${asked} changes of the edge by ${operation.operation}`, async () => {
    const found = await edgeChangesOf(client, operation);
    return found.length >= asked ? found : null;
  });
  return [...own, ...(await Promise.all(changes.map((id) => scheduledBy(client, id)))).flat()];
}

async function edgeChangesOf(
  client: Client,
  { operation, startedAt }: Pick<OperationResult, 'operation' | 'startedAt'>,
): Promise<readonly string[]> {
  const found: string[] = [];
  const query = `WorkflowType = "switchEdge" AND StartTime >= "${startedAt}"`;
  for await (const { workflowId } of client.workflow.list({ query })) {
    const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
    const input = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    const change = JSON.parse(Buffer.from(input ?? '').toString()) as { operation: string };
    if (change.operation === operation) found.push(workflowId);
  }
  return found;
}

async function scheduledBy(client: Client, workflowId: string): Promise<readonly string[]> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap(
    ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType?.name ?? [],
  );
}

/** Makes the release that an operation of a kind deploys. */
export async function makeReleaseFor(project: Project, { fault }: Kind, sha: string): Promise<void> {
  if (fault === undefined) return project.releaseAll(sha);
  if (fault === 'unhealthy') return project.releaseAll(sha, { unhealthy: true });
  const server = await readFile(fileURLToPath(new URL('../../examples/app/server.mjs', import.meta.url)), 'utf8');
  return project.releaseAll(sha, { files: { 'server.mjs': faults[fault], 'service.mjs': server } });
}

const faults = {
  // Its health fails two seconds after its first visitor, who comes through the edge.
  'sick when visited': wrongWhen(`
    if (request.headers['x-forwarded-for']) visitedAt ??= Date.now();
    else return visitedAt !== null && Date.now() > visitedAt + 2_000;`),
  'wrong on one host': wrongWhen(`return request.headers.host === '${unvisitedHost}';`),
};

/** A service that answers 500 to the requests of which this says so. */
function wrongWhen(isWrong: string): string {
  return `import { Server } from 'node:http';
const { emit } = Server.prototype;
let visitedAt = null;
function isWrong(request) {
  ${isWrong}
  return false;
}
Server.prototype.emit = function (event, request, response) {
  if (event === 'request' && isWrong(request)) return void response.writeHead(500).end();
  return emit.apply(this, arguments);
};
await import('./service.mjs');
`;
}
