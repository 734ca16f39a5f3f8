import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { EdgeChange, EdgeChangeAnswer, EdgeChangeResult } from '../domain/edge-change.js';
import type { FailoverTestRequest } from '../domain/failover.js';
import type { CertificatesProgress } from '../domain/issuance.js';
import type {
  Accepted,
  CleanupRequest,
  DeployRequest,
  EnvironmentStatus,
  OperationAnswer,
  Progress,
  RollbackRequest,
  SteerRequest,
  StopRequest,
  SwitchRequest,
} from '../domain/operation.js';

// To `environment`
export const deployUpdate = defineUpdate<Accepted, [DeployRequest]>('deploy');
export const switchUpdate = defineUpdate<Accepted, [SwitchRequest]>('switch');
export const rollbackUpdate = defineUpdate<Accepted, [RollbackRequest]>('rollback');
export const cleanupUpdate = defineUpdate<Accepted, [CleanupRequest?]>('cleanup');
export const failoverTestUpdate = defineUpdate<Accepted, [FailoverTestRequest]>('failover-test');
export const approveUpdate = defineUpdate<Accepted, [SteerRequest]>('approve');
export const abortUpdate = defineUpdate<Accepted, [SteerRequest]>('abort');
export const waitUpdate = defineUpdate<OperationAnswer, [{ operation: string }]>('wait');
export const resultQuery = defineQuery<OperationAnswer, [{ operation: string }]>('result');
export const environmentStatusQuery = defineQuery<EnvironmentStatus>('status');
/** From Temporal's UI: no argument is needed. */
export const rollbackSignal = defineSignal<[RollbackRequest?]>('rollback');
export const approveSignal = defineSignal<[SteerRequest?]>('approve');
export const abortSignal = defineSignal<[SteerRequest?]>('abort');

// To `environment`, from an operation
export const takingBackSignal = defineSignal<[{ operation: string }]>('takingBack');

// To an operation, from `environment`
export const stopSignal = defineSignal<[StopRequest]>('stop');
export const approvedSignal = defineSignal<[SteerRequest]>('approved');
export const progressQuery = defineQuery<Progress>('progress');

// To `certificates`
export const certificatesProgressQuery = defineQuery<CertificatesProgress>('progress');

// To `edge`
export const changeUpdate = defineUpdate<EdgeChangeAnswer, [EdgeChange]>('change');
export const withdrawUpdate = defineUpdate<EdgeChangeResult, [{ id: string }]>('withdraw');
export const changeQuery = defineQuery<EdgeChangeAnswer, [{ id: string }]>('change');
export const edgeStatusQuery = defineQuery<{ running: EdgeChange | null; queue: readonly EdgeChange[] }>('status');

// To `switchEdge`, from `edge`
export const withdrawSignal = defineSignal('withdraw');
