import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import type { Claim, EdgeChange } from '../../src/domain/edge-change.js';
import type { Edge } from '../../src/haproxy/edge.js';
import { installConfiguration, restoreConfiguration } from '../../src/haproxy/install.js';
import { refuseUnlessReady } from '../../src/haproxy/readiness.js';
import { recordColors, restoreColors } from '../../src/haproxy/record.js';
import { reloadEdge, reloadRestored } from '../../src/haproxy/reload.js';
import { stageConfiguration, unstageConfiguration } from '../../src/haproxy/stage.js';
import { verifyTraffic } from '../../src/haproxy/verify.js';
import { type Planned, planned, type TestEdge } from './edge.js';

const timeoutMs = 8_000;

/** All steps of switchEdge. */
export async function change(
  test: TestEdge,
  run: string,
  what: EdgeChange,
  wanted?: AppliedConfiguration,
): Promise<Claim> {
  const { edge } = test;
  const step = await planned(test, run, what, wanted);
  await refuseUnlessReady(edge, what, step.record);
  const claim = await stageConfiguration(edge, step);
  await load(test, step, claim);
  await verifyTraffic(edge, { ...step, timeoutMs });
  await recordColors(edge, { claim, ...step });
  return claim;
}

export async function load(test: TestEdge, step: Planned, claim: Claim): Promise<void> {
  const target = await installConfiguration(test.edge, { claim, ...step });
  await reloadEdge(test.edge, { claim, target, timeoutMs });
}

/** As the saga takes a change back, newest step first. */
export async function takeBackAll(edge: Edge, { takeBack }: Planned): Promise<void> {
  await restoreColors(edge, takeBack);
  await restoreConfiguration(edge, takeBack);
  await reloadRestored(edge, takeBack, timeoutMs);
  await unstageConfiguration(edge, takeBack);
}
