import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import { onlyInOwnWorkflows } from '../../src/activities/own-workflows.js';
import { workflowTypes } from '../../src/domain/names.js';
import * as workflows from '../../src/workflows/index.js';

test('workflowTypes names every workflow', () => {
  expect(workflowTypes.toSorted()).toEqual(Object.keys(workflows).toSorted());
});

const deploy = { inWorkflow: true, namespace: 'shop', workflowNamespace: 'shop', workflowType: 'deploy' };

test.each([
  ['one that Temporal was asked for by itself', { ...deploy, inWorkflow: false, workflowType: undefined }],
  ["one of a workflow of somebody else's program", { ...deploy, workflowType: 'foreign' }],
  ['one of a workflow in another namespace', { ...deploy, workflowNamespace: 'default' }],
])('an activity does nothing and is not tried again: %s', async (_, info) => {
  await expect(execute(info)).rejects.toMatchObject({ type: 'activity-outside-workflow', nonRetryable: true });
});

test("an activity runs in one of Bascule's workflows", async () => {
  await expect(execute(deploy)).resolves.toBe('done');
});

/** What a worker makes of an activity that was asked for there. */
async function execute(info: object): Promise<unknown> {
  const { context } = new MockActivityEnvironment(info);
  const { inbound } = onlyInOwnWorkflows(context);
  return await inbound?.execute?.({ args: [], headers: {} }, async () => 'done');
}
