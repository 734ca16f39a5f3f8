import { type Client, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { expect, test } from 'vitest';
import { askEnvironment } from '../../src/client/operations.js';

/** A client whose server answers Updates with these, one after the other, and then with an operation that was accepted. */
function answering(...failures: readonly Error[]) {
  const left = [...failures];
  let asked = 0;
  const workflow = {
    executeUpdateWithStart: async () => {
      asked += 1;
      const failure = left.shift();
      if (failure) throw failure;
      return { operation: 'demo/prod/deploy/1', joined: false, position: 0 };
    },
  };
  return { client: { workflow } as unknown as Client, asked: () => asked };
}

const rejected = (type: string) =>
  new WorkflowUpdateFailedError('Workflow Update failed', ApplicationFailure.nonRetryable('rejected', type));
const ask = (client: Client) =>
  askEnvironment(client, { project: 'demo', environment: 'prod' }, 'deploy', { sha: 'aaaaaaa1' });

test('a request that the worker was given and said nothing of is asked again', async () => {
  const { client, asked } = answering(rejected('UnprocessedUpdate'), rejected('UnprocessedUpdate'));
  expect(await ask(client)).toMatchObject({ operation: 'demo/prod/deploy/1' });
  expect(asked()).toBe(3);
});

test('a request that is never answered for is not asked for ever', async () => {
  const { client, asked } = answering(...Array.from({ length: 100 }, () => rejected('UnprocessedUpdate')));
  await expect(ask(client)).rejects.toMatchObject({ code: 'refused' });
  expect(asked()).toBeLessThan(20);
});

test('a refusal of the environment is not asked again', async () => {
  const { client, asked } = answering(rejected('unknown-environment'));
  await expect(ask(client)).rejects.toMatchObject({ code: 'refused' });
  expect(asked()).toBe(1);
});
