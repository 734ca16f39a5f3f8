import { type Client, ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy } from '@temporalio/client';
import { defaults } from '../domain/defaults.js';
import type { CertificatesRequest } from '../domain/issuance.js';
import { certificateScheduleId, certificatesWorkflowId, taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';

/**
 * Has the certificates looked at every day, spread over an hour so that not everybody asks an authority at the same
 * minute. One that is there stays as it is, paused or not.
 */
export async function keepCertificateSchedule(client: Client, project: string, isWanted: boolean): Promise<void> {
  const scheduleId = certificateScheduleId(project);
  if (!isWanted) {
    await client.schedule.getHandle(scheduleId).delete().catch(unlessNotFound);
    return;
  }
  const request: CertificatesRequest = {
    kind: 'renew',
    keepGoing: true,
    patienceMs: defaults.renewalPatienceMs,
  };
  try {
    await client.schedule.create({
      scheduleId,
      spec: { calendars: [{ hour: 3, minute: 17 }], jitter: '1h' },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 day' },
      action: {
        type: 'startWorkflow',
        workflowType: 'certificates',
        workflowId: certificatesWorkflowId(project, 'renew', 'scheduled'),
        taskQueue: taskQueue(project),
        workflowTaskTimeout: workflowTaskTimeoutMs,
        args: [request],
      },
    });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
}

/** When the certificates are looked at next, RFC 3339; null where that is paused, or there is no schedule. */
export async function readCertificateSchedule(
  client: Client,
  project: string,
): Promise<{ readonly nextRenewal: string | null; readonly isPaused: boolean }> {
  try {
    const { state, info } = await client.schedule.getHandle(certificateScheduleId(project)).describe();
    const next = state.paused ? null : (info.nextActionTimes[0]?.toISOString() ?? null);
    return { nextRenewal: next, isPaused: state.paused };
  } catch (error) {
    unlessNotFound(error);
    return { nextRenewal: null, isPaused: false };
  }
}

function unlessNotFound(error: unknown): void {
  if (!(error instanceof ScheduleNotFoundError)) throw error;
}
