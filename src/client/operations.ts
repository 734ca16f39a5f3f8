import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { FailoverTestRequest } from '../domain/failover.js';
import { environmentWorkflowId } from '../domain/names.js';
import type {
  Accepted,
  CleanupRequest,
  DeployRequest,
  EnvironmentStatus,
  OperationAnswer,
  Progress,
  RollbackRequest,
  SteerRequest,
  SwitchRequest,
} from '../domain/operation.js';
import { answeredByWorker } from './answering.js';
import { isUnanswered } from './connection.js';
import { ping } from './inspect.js';
import { queryWorkflow } from './query.js';
import { asRefusal } from './refusal.js';
import { type LastingWorkflow, updateWithStart } from './update.js';

export interface EnvironmentName {
  readonly project: string;
  readonly environment: string;
}

/** What may be asked of an environment, by the name of its Update. */
interface Requests {
  deploy: DeployRequest;
  switch: SwitchRequest;
  rollback: RollbackRequest;
  cleanup: CleanupRequest;
  'failover-test': FailoverTestRequest;
  approve: SteerRequest;
  abort: SteerRequest;
}

/**
 * Asks an environment for an operation; its workflow is started where it never ran.
 * Throws `no-worker` where nobody answers (then nothing began), and what the environment refused as `refused`.
 */
export async function request<K extends keyof Requests>(
  client: Client,
  name: EnvironmentName,
  kind: K,
  args: Requests[K],
): Promise<Accepted> {
  await assertWorkerAnswers(client, name);
  return await askEnvironment(client, name, kind, args);
}

/** As `request`, from a worker, which need not ask whether there is one. */
export async function askEnvironment<K extends keyof Requests>(
  client: Client,
  name: EnvironmentName,
  kind: K,
  args: Requests[K],
): Promise<Accepted> {
  try {
    return await updateWithStart<Requests[K], Accepted>(client, environmentWorkflow(name), kind, args);
  } catch (error) {
    throw asRefusal(error);
  }
}

const environmentWorkflow = ({ project, environment }: EnvironmentName): LastingWorkflow => ({
  type: 'environment',
  id: environmentWorkflowId(project, environment),
  project,
  summary: `environment ${environment} of ${project}`,
});

/** How an operation ended, or where it stands. */
export async function readResult(client: Client, name: EnvironmentName, operation: string): Promise<OperationAnswer> {
  const id = environmentWorkflowId(name.project, name.environment);
  return await queryWorkflow<OperationAnswer>(client, id, 'result', { operation });
}

/** The steps of a running operation, or null where it has not begun. */
export async function readProgress(client: Client, operation: string): Promise<Progress | null> {
  try {
    return await queryWorkflow<Progress>(client, operation, 'progress');
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** What runs and waits in an environment, or null where nothing was ever asked of it. */
export async function readEnvironment(client: Client, name: EnvironmentName): Promise<EnvironmentStatus | null> {
  try {
    const id = environmentWorkflowId(name.project, name.environment);
    return await queryWorkflow<EnvironmentStatus>(client, id, 'status');
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** Throws `no-worker` unless a worker of the project answers in time. */
export async function assertWorkerAnswers(client: Client, name: EnvironmentName): Promise<void> {
  await answeredByWorker(client, name.project, async () => {
    if (!(await answersAtOnce(client, name))) await ping(client, name.project);
  });
}

/** How long the environment has to answer: much longer than it takes, unless many ask it at once. */
const atOnceMs = 1_200;

/** Whether the environment's own workflow is there and answers at once, which costs less than a workflow that pings. */
async function answersAtOnce(client: Client, { project, environment }: EnvironmentName): Promise<boolean> {
  const handle = client.workflow.getHandle(environmentWorkflowId(project, environment));
  try {
    await client.withDeadline(Date.now() + atOnceMs, () => handle.query('status'));
    return true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || isUnanswered(error)) return false;
    throw error;
  }
}
