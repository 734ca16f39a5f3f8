import type { Invocation } from './invocation.js';

/** Approves or aborts what runs in an environment, and says which operation that is. */
export async function steer(
  invocation: Invocation,
  kind: 'approve' | 'abort',
  { environment, why }: { readonly environment: string; readonly why?: string },
): Promise<void> {
  const name = { project: await invocation.project(), environment };
  await invocation.withClient(async (client) => {
    const { request } = await import('../client/operations.js');
    const steered = { by: invocation.by, ...(why === undefined ? {} : { why }) };
    const { operation, already } = await request(client, name, kind, steered);
    const { green } = invocation.output.out;
    const does = kind === 'approve' ? 'is approved' : 'is being stopped and taken back';
    invocation.output.answer(
      { schemaVersion: 1, operation, outcome: 'accepted', joined: true, position: 0, ...(already && { already }) },
      `${green('✔')} ${operation} ${does}${already ? ' already; nothing done' : ''}\n→ bascule follow ${operation}`,
    );
  });
}
