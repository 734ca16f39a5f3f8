import { randomUUID } from 'node:crypto';
import { WithStartWorkflowOperation, WorkflowIdConflictPolicy } from '@temporalio/client';
import { expect } from 'vitest';
import type { FailoverTestRequest } from '../../../src/domain/failover.js';
import { environmentWorkflowId, taskQueue } from '../../../src/domain/names.js';
import type {
  Accepted,
  CleanupRequest,
  DeployRequest,
  EnvironmentStatus,
  OperationAnswer,
  OperationResult,
  Progress,
  RollbackRequest,
  SteerRequest,
  SwitchRequest,
} from '../../../src/domain/operation.js';
import { workflowTaskTimeoutMs } from '../../../src/domain/timeouts.js';
import type { environment } from '../../../src/workflows/environment.js';
import type { Rig } from './rig.js';
import { project, type World } from './world.js';

/** Someone who asks the environment of a world for things, as the command line and Temporal's UI do. */
export class Operator {
  readonly environmentId: string;

  constructor(
    private readonly rig: Rig,
    world: World,
  ) {
    this.environmentId = environmentWorkflowId(project, world.name);
  }

  deploy = (sha: string, options: Omit<DeployRequest, 'sha'> = {}) => this.update('deploy', { sha, ...options });
  rollback = (request?: RollbackRequest) => this.update('rollback', request);
  switch = (request: SwitchRequest) => this.update('switch', request);
  cleanup = (request?: CleanupRequest) => this.update('cleanup', request);
  failoverTest = (request: FailoverTestRequest) => this.update('failover-test', request);
  approve = (request?: SteerRequest) => this.update('approve', request);
  abort = (request?: SteerRequest) => this.update('abort', request);

  /** Any Update with any argument; the environment is started where it does not run. */
  async update<T = Accepted>(name: string, argument: unknown): Promise<T> {
    const args: [] | [unknown] = argument === undefined ? [] : [argument];
    return this.rig.client.workflow.executeUpdateWithStart<typeof environment, T, typeof args>(name, {
      args,
      updateId: randomUUID(),
      startWorkflowOperation: new WithStartWorkflowOperation<typeof environment>('environment', {
        workflowId: this.environmentId,
        taskQueue: taskQueue(project),
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
        workflowTaskTimeout: workflowTaskTimeoutMs,
        args: [],
      }),
    });
  }

  signal(name: 'rollback' | 'approve' | 'abort', ...args: unknown[]): Promise<void> {
    return this.rig.client.workflow.getHandle(this.environmentId).signal(name, ...args);
  }

  result(operation: string): Promise<OperationAnswer> {
    return this.query(this.environmentId, 'result', { operation });
  }

  status(): Promise<EnvironmentStatus> {
    return this.query(this.environmentId, 'status');
  }

  progress(operation: string): Promise<Progress> {
    return this.query(operation, 'progress');
  }

  /** What Temporal's UI shows of the environment's workflow. */
  async details(): Promise<string> {
    const metadata = await this.query<{ currentDetails: string }>(this.environmentId, '__temporal_workflow_metadata');
    return metadata.currentDetails;
  }

  /** Waits for an operation's end in real time. */
  ended = async ({ operation }: { operation: string }): Promise<OperationResult> => {
    let result: OperationResult | null = null;
    await expect
      .poll(
        async () => {
          const answer = await this.result(operation);
          if (answer.state === 'ended') result = answer.result;
          return answer.state;
        },
        { interval: 20, timeout: 20_000 },
      )
      .toBe('ended');
    if (!result) throw new Error(`${operation} ended without a result`);
    return result;
  };

  /** Waits for an operation's end as the command line does: with few requests, where many wait at the same time. */
  async waitedFor({ operation }: { operation: string }): Promise<OperationResult> {
    for (;;) {
      const answer = await this.update<OperationAnswer>('wait', { operation });
      if (answer.state === 'ended') return answer.result;
      if (answer.state === 'unknown') throw new Error(`nobody knows ${operation}`);
    }
  }

  /** Waits until an operation waits for approval. */
  async untilItWaitsForApproval({ operation }: { operation: string }): Promise<void> {
    const waiting = async () => {
      try {
        return (await this.progress(operation)).waiting;
      } catch {
        return 'not begun';
      }
    };
    await expect.poll(waiting, { interval: 20, timeout: 10_000 }).toBe('approval');
  }

  private query<T>(workflowId: string, name: string, ...args: unknown[]): Promise<T> {
    return this.rig.client.workflow.getHandle(workflowId).query<T, unknown[]>(name, ...args);
  }
}
