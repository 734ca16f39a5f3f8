import pc from 'picocolors';
import { expect, test } from 'vitest';
import { describeStatus } from '../../src/cli/status-text.js';
import type { EdgeStatus, Status } from '../../src/domain/inspect.js';

function textOf(edge: Partial<EdgeStatus>): string {
  const status: Status = {
    schemaVersion: 1,
    project: 'demo',
    version: '1.0.0',
    configurationProblem: null,
    isConfigurationApplied: true,
    edge: {
      name: 'local',
      host: 'localhost',
      generation: 7,
      digest: 'a'.repeat(64),
      running: true,
      drift: [],
      needsOperator: null,
      oldWorkers: 0,
      oldWorkersEndBy: null,
      ...edge,
    },
    environments: [],
  };
  return describeStatus(pc.createColors(false), status, '1.0.0');
}

const at = new Date();
at.setHours(14, 3, 21, 0);

test.each([
  [0, null, 'HAProxy runs'],
  [1, at.toISOString(), 'HAProxy runs · 1 old HAProxy worker ends its connections, by 14:03:21 at the latest'],
  [2, at.toISOString(), 'HAProxy runs · 2 old HAProxy workers end their connections, by 14:03:21 at the latest'],
  [2, null, 'HAProxy runs · 2 old HAProxy workers end their connections'],
])('status says of %d old HAProxy workers when they have ended (%s)', (oldWorkers, oldWorkersEndBy, text) => {
  expect(textOf({ oldWorkers, oldWorkersEndBy })).toBe(`demo  edge local on localhost · generation 7 · ${text}`);
});
