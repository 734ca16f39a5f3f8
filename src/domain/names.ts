import type { Color } from './edge-state.js';

/** Instance of a component in an environment: `<prefix><component>-<color>`. Also its HAProxy server's name. */
export function instanceName(environment: { prefix: string }, component: string, color: Color): string {
  return `${environment.prefix}${component}-${color}`;
}

/** HAProxy backend of a component in an environment; in multi-instance, where there is none (null), the pool itself. */
export function backendName(environment: string | null, pool: string): string {
  return environment === null ? pool : `${environment}_${pool}`;
}

/** HAProxy backend of a site that Bascule does not deploy. */
export const externalBackendName = (external: string): string => `${external}_backend`;

/** Names of haproxy.cfg's own sections. */
export const ownSections = {
  frontend: 'edge',
  metrics: 'metrics',
  unknownHost: 'default_503',
  challenge: 'letsencrypt_backend',
} as const;

export const taskQueue = (project: string): string => `bascule-${project}`;
export const environmentWorkflowId = (project: string, environment: string): string =>
  `${project}/environment/${environment}`;
export const edgeWorkflowId = (project: string, edge: string): string => `${project}/edge/${edge}`;
export const edgeChangeWorkflowId = (project: string, edge: string, number: number): string =>
  `${edgeWorkflowId(project, edge)}/${number}`;
export const certificateWorkflowId = (project: string, name: string): string => `${project}/certificates/${name}`;
export const certificatesWorkflowId = (project: string, kind: string, request: string): string =>
  `${project}/certificates/${kind}/${request}`;
export const certificateScheduleId = (project: string): string => `${project}/certificates`;
/** Whether an operation is one of `bascule certs`. */
export const isOfCertificates = (operation: string): boolean =>
  /^[^/]+\/certificates\/(issue|renew|revoke|adopt)\/[^/]+$/.test(operation);
/** The part of any of these ids that names the project. */
export const projectOfWorkflow = (id: string): string => id.slice(0, id.indexOf('/'));
export const provisionWorkflowId = (project: string, edge: string): string => `${project}/provision/${edge}`;
/** One that only looks: it joins none that acts. */
export const dryProvisionWorkflowId = (project: string, request: string): string =>
  `${project}/provision/dry-run/${request}`;
/** Whether an operation is one of `bascule provision`. */
export const isProvision = (operation: string): boolean => /^[^/]+\/provision\/(dry-run\/)?[^/]+$/.test(operation);
export const inspectWorkflowId = (project: string, what: string): string => `${project}/inspect/${what}`;

export interface WorkerNaming {
  readonly version: string;
  readonly pid: number;
  readonly host: string;
  /** Marks of the keys that it has, the first of which encrypts. */
  readonly keys: readonly string[];
}

/** What Temporal shows of a worker, and by which others know its version and its keys. */
export const workerIdentity = ({ version, pid, host, keys }: WorkerNaming): string =>
  [`bascule ${version} ${pid}@${host}`, ...(keys.length > 0 ? [`keys ${keys.join(',')}`] : [])].join(' ');

/** The version in a worker's identity, null where it is no worker of Bascule's. */
export const versionOfWorker = (identity: string): string | null => /^bascule (\S+) /.exec(identity)?.[1] ?? null;

/** The marks of a worker's keys, none where its identity names none. */
export const keysOfWorker = (identity: string): readonly string[] =>
  /^bascule \S+ \S+ keys (\S+)$/.exec(identity)?.[1]?.split(',') ?? [];

/** Types of all workflows: no activity runs in another one. */
export const workflowTypes = [
  ...['adoptCertificates', 'apply', 'certificate', 'certificates', 'cleanup', 'deploy', 'edge', 'environment'],
  ...['failoverTest', 'inspect', 'provision', 'revokeCertificate', 'rollback', 'scheduledFailoverTest'],
  ...['switch', 'switchEdge'],
];

export const operationKinds = ['deploy', 'rollback', 'switch', 'cleanup', 'failover-test'] as const;
export type OperationKind = (typeof operationKinds)[number];

/** The type of an operation's workflow. */
export const workflowTypeOf = (kind: OperationKind): string => (kind === 'failover-test' ? 'failoverTest' : kind);

/** Id of an operation, which is also its workflow's id. */
export function operationId(project: string, environment: string, kind: OperationKind, number: number): string {
  return `${project}/${environment}/${kind}/${number}`;
}

/** Project and environment out of `<project>/environment/<env>`, or null for another id. */
export function parseEnvironmentWorkflowId(id: string): { project: string; environment: string } | null {
  const match = /^([^/]+)\/environment\/([^/]+)$/.exec(id);
  return match?.[1] && match[2] ? { project: match[1], environment: match[2] } : null;
}

/** Project and edge out of `<project>/edge/<edge>`, or null for another id. */
export function parseEdgeWorkflowId(id: string): { project: string; edge: string } | null {
  const match = /^([^/]+)\/edge\/([^/]+)$/.exec(id);
  return match?.[1] && match[2] ? { project: match[1], edge: match[2] } : null;
}

/** Parts of an operation's id, or null for another id. */
export function parseOperationId(
  id: string,
): { project: string; environment: string; kind: OperationKind; number: number } | null {
  const [, project, environment, named, number] = /^([^/]+)\/([^/]+)\/([a-z-]+)\/(\d+)$/.exec(id) ?? [];
  const kind = operationKinds.find((one) => one === named);
  return project && environment && kind ? { project, environment, kind, number: Number(number) } : null;
}

/** Names that workflow ids use themselves and that no environment may have. */
export const reservedEnvironmentNames = ['edge', 'environment', 'certificates', 'provision', 'inspect'] as const;

/** What `{sha}` may be: 7 to 40 hexadecimal digits, lower case. */
export const shaPattern = /^[0-9a-f]{7,40}$/;

/** Short form of a sha for people. */
export const shortSha = (sha: string | null): string => (sha === null ? 'nothing' : sha.slice(0, 10));
