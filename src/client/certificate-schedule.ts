import {
  type CalendarSpec,
  type CalendarSpecDescription,
  type Client,
  type Month,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import { type LookPlan, lookOffsetMs } from '../domain/certificates.js';
import type { CertificatesRequest } from '../domain/issuance.js';
import { certificateScheduleId, certificatesWorkflowId, taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';

/** Whether there is a schedule of looks already, paused or not. */
export async function hasCertificateSchedule(client: Client, project: string): Promise<boolean> {
  try {
    await client.schedule.getHandle(certificateScheduleId(project)).describe();
    return true;
  } catch (error) {
    unlessNotFound(error);
    return false;
  }
}

/**
 * Has the certificates looked at by a plan; by none where it is null. A schedule that is there follows the plan from now on:
 * one that is paused stays paused, and looks that were planned for a moment to come stay planned.
 */
export async function keepCertificateSchedule(client: Client, project: string, plan: LookPlan | null): Promise<void> {
  const scheduleId = certificateScheduleId(project);
  const handle = client.schedule.getHandle(scheduleId);
  if (plan === null) {
    await handle.delete().catch(unlessNotFound);
    return;
  }
  const ofPlan = optionsOf(project, plan);
  const { note } = ofPlan.state;
  try {
    await client.schedule.create({
      scheduleId,
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 day' },
      ...ofPlan,
    });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const { state: found } = await handle.describe();
    if (found.note === note) return;
    await handle.update((earlier) => {
      const kept = momentsOf(earlier.spec.calendars).filter((moment) => moment > Date.now());
      const at = [...new Set([...plan.at, ...kept])].toSorted((a, b) => a - b).slice(0, mostMoments);
      const { spec, action } = optionsOf(project, { ...plan, at });
      return { ...earlier, spec, action, state: earlier.state.paused ? earlier.state : { ...earlier.state, note } };
    });
  }
}

/** Of looks besides the regular ones. */
const mostMoments = 100;

/** How long a look may last, in looks: one that is stuck keeps no later one from its turn for longer. */
const longestRun = 4;
const shortestRunLimitMs = 60 * 60_000;

function optionsOf(project: string, { everyMs, at, patienceMs }: LookPlan) {
  const request: CertificatesRequest = { kind: 'renew', keepGoing: true, patienceMs };
  const moments = at.map((ms) => new Date(ms).toISOString());
  return {
    spec: { intervals: [{ every: everyMs, offset: lookOffsetMs(project, everyMs) }], calendars: at.map(calendarOf) },
    action: {
      type: 'startWorkflow',
      workflowType: 'certificates',
      workflowId: certificatesWorkflowId(project, 'renew', 'scheduled'),
      taskQueue: taskQueue(project),
      workflowTaskTimeout: workflowTaskTimeoutMs,
      workflowRunTimeout: Math.max(shortestRunLimitMs, longestRun * everyMs),
      args: [request],
    },
    /** Shown in Temporal's UI; by it a plan that is there already is known. */
    state: { note: [`every ${everyMs / 1_000} s`, ...moments].join(', ') },
  } satisfies Partial<ScheduleOptions>;
}

/** The one second that a moment is. */
function calendarOf(ms: number): CalendarSpec {
  const date = new Date(ms);
  return {
    year: date.getUTCFullYear(),
    month: months[date.getUTCMonth()] ?? 'JANUARY',
    dayOfMonth: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
  };
}

/** The moments that `calendarOf` made calendars of. */
function momentsOf(calendars: readonly CalendarSpecDescription[] | undefined): readonly number[] {
  return (calendars ?? []).flatMap(({ year, month, dayOfMonth, hour, minute, second }) => {
    const [first] = year ?? [];
    const [inMonth, onDay] = [month?.[0]?.start ?? 'JANUARY', dayOfMonth?.[0]?.start ?? 1];
    const [atHour, atMinute, atSecond] = [hour, minute, second].map((part) => part?.[0]?.start ?? 0);
    return first ? [Date.UTC(first.start, months.indexOf(inMonth), onDay, atHour, atMinute, atSecond)] : [];
  });
}

const months: readonly Month[] = [
  ...(['JANUARY', 'FEBRUARY', 'MARCH', 'APRIL', 'MAY', 'JUNE'] as const),
  ...(['JULY', 'AUGUST', 'SEPTEMBER', 'OCTOBER', 'NOVEMBER', 'DECEMBER'] as const),
];

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
