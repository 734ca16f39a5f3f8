import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

/** Every workflow's history as whoever reads Temporal's database sees it, its payloads out of base64, by what it is of. */
export async function readHistories(address: string): Promise<Record<string, string>> {
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  try {
    const texts: Record<string, string> = {};
    // As it is: the client's own list wants to decode what it finds.
    const { executions } = await client.workflowService.listWorkflowExecutions({ namespace: 'default' });
    for (const { execution } of executions ?? []) {
      const { workflowId, runId } = { workflowId: execution?.workflowId ?? '', runId: execution?.runId ?? '' };
      const json = historyToJSON(await client.workflow.getHandle(workflowId, runId).fetchHistory());
      const payloads = [...json.matchAll(/"data": ?"([A-Za-z0-9+/=]+)"/g)];
      const decoded = payloads.map(([, data = '']) => Buffer.from(data, 'base64').toString('utf8'));
      texts[`history of ${workflowId}`] = [json, ...decoded].join('\n');
    }
    return texts;
  } finally {
    await connection.close();
  }
}
