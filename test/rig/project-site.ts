import { isUnanswered } from '../../src/client/connection.js';
import { followOperation } from '../../src/client/follow.js';
import { readEnvironment, readProgress, readResult, request } from '../../src/client/operations.js';
import type { ColorView } from '../../src/domain/inspect.js';
import { environmentWorkflowId, operationId } from '../../src/domain/names.js';
import type { DeployRequest, OperationResult } from '../../src/domain/operation.js';
import { isBasculeError } from '../../src/errors.js';
import { Asking } from './asking.js';
import { connectTemporal, generousMs, mustSucceed, quick, type Temporal, until } from './chaos.js';
import { clearFailPoint, type FailPoint, killMaster, setFailPoint } from './fail-point.js';
import { assertInvariant } from './invariant.js';
import type { Held } from './model.js';
import { type Project, startProject } from './project.js';
import { type Environment, environments, type Site, shas } from './schedule.js';

/** What goes wrong by itself: HAProxy's master is killed. */
export const masterKilled = "HAProxy's master is killed";

/** Acts out one schedule on all of Bascule, in a project of its own where nothing was deployed yet. */
export async function projectSite(): Promise<Site> {
  const project = await startProject({ configure: quick, failPoints: true });
  try {
    for (const sha of shas.good) await project.releaseAll(sha);
    await project.releaseAll(shas.unhealthy, { unhealthy: true });
    await project.startWorker();
    await mustSucceed(project, 'apply');
    return siteOf(project, await connectTemporal(project));
  } catch (error) {
    await project.stop();
    throw error;
  }
}

function siteOf(project: Project, temporal: Temporal): Site {
  const { client } = temporal;
  const askings: Record<Environment, Asking> = {
    staging: askingOf(temporal, 'staging'),
    prod: askingOf(temporal, 'prod'),
  };
  // One that is killed is started again at once.
  const restarting = setInterval(() => {
    if (!project.workerRuns()) project.spawnWorker();
  }, 100);

  return {
    ask: (environment, who, ask) => askings[environment].ask(who, ask),
    pause() {},
    hasPaused: async () => false,

    async disturb(_, { what, step }) {
      if (what === masterKilled) {
        await untilNothingMoves(temporal);
        const untilBack = await killMaster(project);
        await untilBack();
        await untilServersAreUp(project);
      } else if (step !== null) {
        const [activity = '', moment] = step.split(' ') as [string, FailPoint['moment']];
        await setFailPoint(project, { activity, moment, nth: 1, how: 'kill' });
      }
      return [];
    },

    async settle(environment, operations) {
      const results = new Map<string, OperationResult>();
      for (const { id, isWaiting } of operations) {
        const approving = new AbortController();
        const approved = isWaiting ? askings[environment].approve(id, approving.signal) : null;
        const options = { onSight: () => undefined, signal: AbortSignal.timeout(3 * generousMs) };
        results.set(id, await followOperation(client, nameOf(environment), id, options));
        approving.abort();
        await approved;
      }
      return results;
    },

    async see(environment) {
      const view = (await project.look()).environments.find(({ name }) => name === environment);
      if (!view?.colors) throw new Error(`status says nothing of ${environment}`);
      const { blue, green } = view.colors;
      return {
        color: view.active,
        sha: view.sha,
        standby: [blue, green].find(({ state }) => state === 'standby')?.sha ?? null,
        history: view.history.map(({ color, sha }) => `${color} ${sha}`),
        held: { blue: heldBy(blue), green: heldBy(green) },
      };
    },

    async check() {
      await clearFailPoint(project);
      await assertInvariant(project);
    },

    async end() {
      clearInterval(restarting);
      await temporal.close();
      await project.stop();
    },
  };
}

const nameOf = (environment: string) => ({ project: 'demo', environment });

function askingOf({ client, signal }: Temporal, environment: Environment): Asking {
  const name = nameOf(environment);
  return new Asking({
    // Each kind comes with its own argument.
    update: (kind, argument) =>
      untilAnswered(`${environment} takes ${kind}`, () =>
        request<'deploy'>(client, name, kind as 'deploy', argument as DeployRequest),
      ),
    signal: (kind, argument) => signal(environmentWorkflowId('demo', environment), kind, argument),
    result: (operation) => untilAnswered(`${environment} answers`, () => readResult(client, name, operation)),
    rollbackId: (number) => operationId('demo', environment, 'rollback', number),
  });
}

/** While a worker is started again nobody answers, and nothing begins. */
const untilAnswered = <T extends object | boolean>(what: string, ask: () => Promise<T>) =>
  until(what, () =>
    ask().catch((error: unknown) => {
      const isTooEarly = isBasculeError(error) && ['no-worker', 'temporal-unreachable'].includes(error.code);
      if (isTooEarly || isUnanswered(error)) return null;
      throw error;
    }),
  );

/** An edge that is gone fails what goes through it; what is compared are schedules of which it is known how they end. */
async function untilNothingMoves({ client }: Temporal): Promise<void> {
  for (const environment of environments) {
    await untilAnswered(`nothing moves in ${environment}`, async () => {
      const { operation, queue } = (await readEnvironment(client, nameOf(environment))) ?? {};
      if (!operation) return (queue ?? []).length === 0;
      return (await readProgress(client, operation.id))?.waiting === 'approval';
    });
  }
}

async function untilServersAreUp(project: Project): Promise<void> {
  await until('HAProxy has checked all that runs', async () => {
    const colors = (await project.look()).environments.flatMap((view) => Object.values(view.colors ?? {}));
    return colors
      .filter((color) => color.state !== 'failed')
      .flatMap(({ components }) => components)
      .every(({ state, health }) => state !== 'running' || health?.startsWith('UP L7OK'));
  });
}

function heldBy({ sha, components }: ColorView): Held {
  if (components.every(({ state }) => state === 'empty')) return 'nothing';
  return sha !== null && components.every(({ state }) => state === 'running') ? { sha } : 'partial';
}
