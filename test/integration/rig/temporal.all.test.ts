import { Connection } from '@temporalio/client';
import { afterEach, expect, test } from 'vitest';
import { startTemporal, type TemporalServer } from '../../rig/temporal.js';

let server: TemporalServer;

afterEach(() => server.stop());

test('the dev server keeps its workflows and its address over SIGKILL', async () => {
  server = await startTemporal();
  const { address } = server;
  const pid = server.pid();
  await startWorkflow(address, 'kept');
  await server.kill();
  await server.restart();
  expect(server.address).toBe(address);
  expect(server.pid()).not.toBe(pid);
  await expect(startWorkflow(address, 'kept')).rejects.toThrow(/already/i);
});

async function startWorkflow(address: string, workflowId: string): Promise<void> {
  const connection = await Connection.connect({ address });
  try {
    await connection.workflowService.startWorkflowExecution({
      namespace: 'default',
      requestId: `${Math.random()}`,
      workflowId,
      workflowType: { name: 'nobody' },
      taskQueue: { name: 'nobody' },
    });
  } finally {
    await connection.close();
  }
}
