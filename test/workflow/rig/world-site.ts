import { expect } from 'vitest';
import type { Color } from '../../../src/domain/edge-state.js';
import { operationId } from '../../../src/domain/names.js';
import type { OperationResult } from '../../../src/domain/operation.js';
import { Asking } from '../../rig/asking.js';
import { type Held, isUnhealthy, isUnknown } from '../../rig/model.js';
import { type Environment, environments, type Site, type SiteFault } from '../../rig/schedule.js';
import type { Fault } from './faults.js';
import { Operator } from './operator.js';
import type { Rig } from './rig.js';
import { deploySteps } from './steps.js';
import { project, type World } from './world.js';

interface Place {
  readonly world: World;
  readonly operator: Operator;
  readonly asking: Asking;
  held: { readonly reached: Promise<unknown> } | null;
}

/** Acts out schedules on the real workflows, with an edge and instances in memory. */
export function worldSite(rig: Rig): Site {
  const [staging, prod] = rig.newNeighbors();
  const places: Record<Environment, Place> = { staging: placeOf(rig, staging), prod: placeOf(rig, prod) };
  staging.edge.isUp = (name, color) => typeof heldBy(staging.name === name ? staging : prod, color) === 'object';

  return {
    ask: (environment, who, ask) => places[environment].asking.ask(who, ask),

    async disturb(environment, { step, what }: SiteFault) {
      if (step === null) {
        await rig.restartWorker();
        return [];
      }
      places[environment].world.faults.set(step, what as Fault);
      return [{ step, isForGood: !what.includes(' once') }];
    },

    pause(environment, step) {
      places[environment].held = hold(places[environment].world, step);
    },

    async hasPaused(environment, operation) {
      const { held, operator, world } = places[environment];
      const ended = operation === null ? Promise.resolve() : operator.waitedFor({ operation });
      const isReached = await Promise.race([held?.reached.then(() => true), ended.then(() => false)]);
      if (!isReached) world.faults.releaseAll();
      return isReached ?? false;
    },

    async settle(environment, operations) {
      const { world, operator, asking } = places[environment];
      world.faults.releaseAll();
      const results = new Map<string, OperationResult>();
      for (const { id, isWaiting } of operations) {
        const approving = new AbortController();
        const approved = isWaiting ? asking.approve(id, approving.signal) : null;
        results.set(id, await operator.waitedFor({ operation: id }));
        approving.abort();
        await approved;
      }
      world.faults.clear();
      return results;
    },

    async see(environment) {
      const { world } = places[environment];
      return {
        ...world.serves,
        history: world.history,
        held: { blue: heldBy(world, 'blue'), green: heldBy(world, 'green') },
      };
    },

    /** Edge, files and instances agree with each other. */
    async check() {
      const { edge } = staging;
      expect(edge.staged, 'a candidate is left').toBeNull();
      expect(edge.needsOperator).toBeNull();
      expect(edge.running.digest, 'what HAProxy runs').toBe(edge.installed.digest);
      for (const environment of environments) {
        const { world, operator, asking } = places[environment];
        const { color, sha } = world.serves;
        const top = world.history[0] ?? null;
        expect(edge.recorded.colors[world.name], `color file of ${environment}`).toBe(color);
        expect(top, `history of ${environment}`).toBe(sha === null ? null : `${color} ${sha}`);
        if (sha !== null) expect(heldBy(world, color), `instances of ${environment}`).toEqual({ sha });
        if (world.serves.standby !== null) {
          const other = color === 'blue' ? 'green' : 'blue';
          expect(heldBy(world, other), `standby of ${environment}`).toEqual({ sha: world.serves.standby });
        }
        if (asking.number === 0) continue;
        expect(await operator.status(), `what runs in ${environment}`).toMatchObject({ operation: null, queue: [] });
      }
    },

    end: async () => {},
  };
}

function placeOf(rig: Rig, world: World): Place {
  Object.assign(world, { isUnknown, isUnhealthy, isActiveAlready: true, soakMs: 60_000 });
  const operator = new Operator(rig, world);
  const asking = new Asking({
    update: (kind, argument) => operator.update(kind, argument),
    signal: (kind, argument) => rig.client.workflow.getHandle(operator.environmentId).signal(kind, argument),
    result: (operation) => operator.result(operation),
    rollbackId: (number) => operationId(project, world.name, 'rollback', number),
  });
  return { world, operator, asking, held: null };
}

/** With all that run at the same time; nothing is drained where nothing was ever deployed. */
function hold({ faults, history }: World, step: string): { readonly reached: Promise<unknown> } {
  const isRun = (one: string): boolean => one !== 'drainColor' || history.length > 0;
  const together = deploySteps.find((steps) => steps.includes(step) && isRun(step))?.filter(isRun) ?? [step];
  return { reached: Promise.all(together.map((one) => faults.hold(one).reached)) };
}

function heldBy(world: World, color: Color): Held {
  const found = world.instancesOf(color);
  if (found.every((one) => one.endsWith(': none'))) return 'nothing';
  const [sha] = new Set(found.map((one) => / running (\S+)$/.exec(one)?.[1] ?? null));
  const isWhole = sha && found.every((one) => one.endsWith(` running ${sha}`));
  return isWhole ? { sha } : 'partial';
}
