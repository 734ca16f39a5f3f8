import * as z from 'zod';
import type { FailoverReport } from '../domain/failover.js';
import type { Logs, Status } from '../domain/inspect.js';
import { operationKinds } from '../domain/names.js';
import type { OperationResult } from '../domain/operation.js';
import type { ProvisionResult } from '../domain/provision.js';
import { provisionSteps } from '../domain/provision.js';
import type { Stopped } from './dev-stop.js';
import { exitCodes } from './exit-codes.js';
import type { RollbackList } from './rollback-list.js';

/** What `--json` prints, as zod schemas; the types that they are held to stand in the domain. Others build on these. */

const list = <T extends z.ZodType>(element: T) => z.array(element).readonly();

const schemaVersion = z.literal(1);
const color = z.enum(['blue', 'green']);
const operationKind = z.enum(operationKinds);
const release = z.object({ color: color.nullable(), sha: z.string().nullable() });

const step = z.object({
  name: z.string(),
  startedAt: z.iso.datetime(),
  durationMs: z.number().nullable(),
  outcome: z.enum(['running', 'done', 'failed', 'skipped', 'taken back', 'take-back failed']),
  note: z.string().exactOptional(),
});

const failoverVisits = list(
  z.object({
    at: z.iso.datetime(),
    ms: z.number(),
    status: z.number().describe('0 where nothing answered'),
    server: z.string().nullable().describe('null where no server answered'),
  }),
);

const failoverReport = z
  .object({
    component: z.string(),
    instance: z.string().describe('the one that was stopped'),
    others: list(z.string()),
    expectedDownMs: z.number().describe('fall × interval of its health check'),
    before: failoverVisits,
    stoppedAt: z.iso.datetime().nullable(),
    downAfterMs: z.number().nullable(),
    meanwhile: failoverVisits.describe('while it was down'),
    startedAt: z.iso.datetime().nullable(),
    upAfterMs: z.number().nullable(),
  })
  .describe('failover-test: what it saw, as far as it came') satisfies z.ZodType<FailoverReport>;

const operationResult = z.object({
  schemaVersion,
  operation: z.string(),
  environment: z.string(),
  kind: operationKind,
  sha: z.string().nullable(),
  outcome: z.enum(['succeeded', 'failed', 'needs-operator']),
  code: z.string().nullable().describe('why it did not succeed'),
  message: z.string(),
  remedy: z.string().nullable(),
  from: release,
  to: release,
  generation: z.number().nullable().describe('generation of the edge that it put in force'),
  began: z.boolean().describe('whether it changed anything, also what was given back'),
  startedAt: z.iso.datetime(),
  durationMs: z.number(),
  lost: list(z.string()).describe('what could not be given back'),
  warnings: list(z.string()),
  components: list(z.object({ name: z.string(), url: z.string(), sha256: z.string(), instance: z.string() })),
  steps: list(step),
  changed: z.boolean().exactOptional(),
  diff: z.string().exactOptional(),
  failover: failoverReport.exactOptional(),
}) satisfies z.ZodType<OperationResult>;

/** The result of `apply` has the same shape, of no environment. */
export const resultSchema = operationResult
  .extend({ environment: z.string().nullable(), kind: z.enum([...operationKind.options, 'apply']) })
  .meta({ id: 'Result', description: 'deploy, switch, rollback, failover-test, follow, apply' });

const colorState = z.enum(['empty', 'starting', 'running', 'standby', 'failed', 'stopped']);

const componentView = z.object({
  name: z.string(),
  instance: z.string(),
  address: z.string(),
  state: colorState,
  health: z.string().nullable(),
  restarts: z.number(),
  environmentChanged: z
    .boolean()
    .nullable()
    .describe('whether `env` has other values by now than those it was started with'),
  problem: z
    .object({ message: z.string(), remedy: z.string() })
    .nullable()
    .describe('what keeps the instance from being looked at'),
});

const colorView = z.object({ sha: z.string().nullable(), state: colorState, components: list(componentView) });

const none = list(z.never());

const environmentView = z.object({
  name: z.string(),
  hosts: list(z.string()),
  active: color,
  sha: z.string().nullable(),
  since: z.string().nullable(),
  blocked: z.object({ code: z.string(), remedy: z.string() }).nullable(),
  waiting: z.enum(['approval', 'soak', 'drain']).nullable(),
  until: z.string().nullable(),
  rollback: z.object({ to: z.string(), fast: z.boolean(), until: z.string().nullable() }).nullable(),
  rollbackRefused: z.string().nullable().describe('why a rollback without --to is refused now'),
  colors: z.object({ blue: colorView, green: colorView }),
  instances: none,
  operation: z
    .object({
      id: z.string(),
      kind: operationKind,
      sha: z.string().nullable(),
      step: z.string().nullable(),
      since: z.string().nullable(),
    })
    .nullable(),
  queue: list(z.object({ id: z.string(), kind: operationKind, sha: z.string().nullable() })),
  history: list(z.object({ at: z.string(), color, sha: z.string() })),
});

const sideBySideView = environmentView
  .extend({
    name: z.literal('default'),
    hosts: none,
    active: z.null(),
    colors: z.null(),
    instances: list(
      componentView.extend({
        state: colorState.nullable().describe('null where Bascule does not run it'),
        sha: z.string().nullable(),
      }),
    ),
    history: list(z.object({ at: z.string(), color: z.null(), sha: z.string() })),
  })
  .describe('in multi-instance: instances side by side, without colors');

export const statusSchema = z
  .object({
    schemaVersion,
    project: z.string(),
    version: z.string(),
    configurationProblem: z.string().nullable().describe("what is wrong with the worker's bascule.yaml"),
    isConfigurationApplied: z.boolean(),
    edge: z.object({
      name: z.string(),
      host: z.string(),
      generation: z.number().nullable(),
      digest: z.string().nullable(),
      running: z.boolean(),
      drift: list(
        z.object({
          kind: z.enum([
            'hand-edited',
            'not-running',
            'silent',
            'other-configuration-running',
            'color-file',
            'history-file',
            'template',
            'header',
          ]),
          message: z.string(),
          remedy: z.string().exactOptional().describe('what to do, where `bascule apply --repair` does not mend it'),
        }),
      ),
      needsOperator: z.string().nullable(),
      oldWorkers: z.number(),
      oldWorkersEndBy: z.string().nullable().describe('when hard-stop-after has ended the last of them, at the latest'),
    }),
    environments: list(z.union([environmentView, sideBySideView])),
  })
  .meta({ id: 'Status', description: 'status' }) satisfies z.ZodType<Status>;

export const endingSchema = z
  .object({
    schemaVersion,
    operation: z.string().nullable(),
    outcome: z.enum([...Object.keys(exitCodes), 'interrupted']),
    code: z.string(),
    message: z.string(),
    remedy: z.string().nullable(),
    since: z.string().exactOptional().describe('status --watch: since when it cannot be read'),
  })
  .meta({ id: 'Ending', description: 'any command that was refused, interrupted, or could not reach what it needs' });

export const acceptedSchema = z
  .object({
    schemaVersion,
    operation: z.string(),
    outcome: z.literal('accepted'),
    already: z.literal(true).exactOptional().describe('it was approved or stopped before: nothing is done'),
    joined: z.boolean().describe('whether it was there already'),
    position: z.number().describe('0 while it runs, else its place in the queue'),
  })
  .meta({ id: 'Accepted', description: 'deploy --detach, approve, abort' });

export const provisionSchema = z
  .object({
    schemaVersion,
    operation: z.string(),
    environment: z.null(),
    kind: z.literal('provision'),
    outcome: z.enum(['succeeded', 'failed', 'needs-operator']),
    code: z.string().nullable().describe('why it did not succeed'),
    message: z.string(),
    remedy: z.string().nullable(),
    changed: z.boolean().describe('whether anything was changed, or with --dry-run would be'),
    dryRun: z.boolean(),
    generation: z
      .number()
      .nullable()
      .describe("generation of the edge's first configuration, where it put that in force"),
    startedAt: z.iso.datetime(),
    durationMs: z.number(),
    plan: list(
      z.object({
        id: z.enum(provisionSteps),
        name: z.string(),
        state: z.enum(['right', 'to do', 'unknown']).describe('as it was found; unknown: before other steps are done'),
        does: z.string(),
      }),
    ),
    steps: list(step),
  })
  .meta({ id: 'Provision', description: 'provision' }) satisfies z.ZodType<ProvisionResult>;

const finding = z.object({ code: z.string(), message: z.string(), remedy: z.string() });

export const diagnosisSchema = z
  .object({
    schemaVersion,
    project: z.string(),
    examinedBy: z.enum(['worker', 'command']).describe('who looked at the machine of edge and instances'),
    checks: list(
      z.object({
        name: z.string(),
        note: z.string().nullable(),
        findings: list(finding),
        notChecked: z.string().nullable().describe('why it could not be checked; what keeps it from that is a finding'),
      }),
    ),
    usage: list(z.object({ what: z.string(), path: z.string(), bytes: z.number() })),
  })
  .meta({ id: 'Diagnosis', description: 'doctor' });

export const rollbackListSchema = z
  .object({
    schemaVersion,
    project: z.string(),
    environment: z.string(),
    active: release,
    releases: list(
      z.object({
        at: z.string(),
        color: color.nullable(),
        sha: z.string(),
        fast: z.boolean().describe('by a switch; else it is deployed again'),
        isNext: z.boolean().describe('where a rollback without --to goes'),
      }),
    ),
    stops: z.string().nullable().describe('the deploy that runs, which a rollback without --to stops and takes back'),
    refused: z.string().nullable().describe('why a rollback without --to is refused now'),
    remedy: z.string().nullable().describe('what to type then'),
  })
  .meta({ id: 'RollbackList', description: 'rollback --list' }) satisfies z.ZodType<RollbackList>;

export const historySchema = z
  .object({
    schemaVersion,
    project: z.string(),
    environment: z.string(),
    history: list(z.object({ at: z.string(), color: color.nullable(), sha: z.string() })).describe(
      'newest first; the first one serves',
    ),
  })
  .meta({ id: 'History', description: 'history' });

export const operationsSchema = z
  .object({
    schemaVersion,
    project: z.string(),
    environment: z.string(),
    operations: list(
      z.object({
        operation: z.string(),
        kind: operationKind,
        sha: z.string().nullable().describe('what it led to, else what was asked for'),
        startedAt: z.iso.datetime(),
        endedAt: z.iso.datetime().nullable().describe('null while it runs'),
        by: z.string().nullable(),
        why: z.string().nullable(),
        outcome: z.enum(['succeeded', 'failed', 'needs-operator', 'running', 'terminated', 'timed-out', 'unknown']),
        code: z.string().nullable().describe('why it did not succeed'),
        message: z.string().nullable().describe('null while it runs, and where it ended without a result'),
      }),
    ).describe('newest first; what waited and gave way never began, and is not among them'),
    keptDays: z.number().nullable().describe('how long Temporal keeps what has ended'),
  })
  .meta({ id: 'Operations', description: 'history --all' });

export const logsSchema = z
  .object({ schemaVersion, instance: z.string(), lines: list(z.string()), offset: z.number() })
  .meta({ id: 'Logs', description: 'logs' }) satisfies z.ZodType<Logs>;

export const stoppedSchema = z
  .object({
    schemaVersion,
    project: z.string(),
    dev: z.enum(['stopped', 'left-overs-stopped', 'not-running']),
    edge: z.enum(['stopped', 'not-running', 'not-managed']),
    instances: list(z.string()).describe('those that ran, and that the next worker starts again'),
    stopped: list(z.string()).describe('all of it, for a person'),
  })
  .meta({ id: 'Stopped', description: 'dev --stop' }) satisfies z.ZodType<Stopped>;

/** The JSON schema of what `--json` prints. Fields are added, so more of them are allowed. */
export function outputJsonSchema(): object {
  const documents = [
    resultSchema,
    statusSchema,
    rollbackListSchema,
    historySchema,
    operationsSchema,
    logsSchema,
    diagnosisSchema,
    provisionSchema,
    acceptedSchema,
    stoppedSchema,
    endingSchema,
  ];
  return z.toJSONSchema(z.union(documents), { io: 'input' });
}
