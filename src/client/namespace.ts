import { type Client, type ConnectionLike, NamespaceNotFoundError } from '@temporalio/client';
import { google } from '@temporalio/proto';
import { BasculeError } from '../errors.js';
import { searchAttributeNames } from '../temporal-server.js';
import { grpcCode } from './connection.js';

/** A namespace, and `host:port` of the Temporal that should have it. */
export interface NamespacePlace {
  readonly namespace: string;
  readonly address: string;
}

type OperatorService = Pick<ConnectionLike['operatorService'], 'listSearchAttributes'>;

/**
 * That the namespace is there and knows the search attributes: one that it does not know would hang every workflow
 * without a word.
 *
 * @throws `namespace-missing`, `search-attribute-missing`
 */
export async function assertNamespace(operatorService: OperatorService, place: NamespacePlace): Promise<void> {
  const { namespace } = place;
  const { customAttributes } = await namingNamespace(place, () => operatorService.listSearchAttributes({ namespace }));
  const missing = searchAttributeNames.filter((name) => !(name in (customAttributes ?? {})));
  if (missing.length > 0) throw new BasculeError('search-attribute-missing', { namespace, missing });
}

/** How long the namespace keeps an operation after its end, in milliseconds. */
export async function readRetention({ workflowService, options }: ClientOfNamespace): Promise<number> {
  const { config } = await workflowService.describeNamespace({ namespace: options.namespace });
  return Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) * 1_000;
}

/** Has the namespace keep operations for so long after their end. */
export async function setRetention({ workflowService, options }: ClientOfNamespace, ms: number): Promise<void> {
  const config = { workflowExecutionRetentionTtl: google.protobuf.Duration.fromObject({ seconds: ms / 1_000 }) };
  await workflowService.updateNamespace({ namespace: options.namespace, config });
}

type ClientOfNamespace = Pick<Client, 'workflowService' | 'options'>;

/** Runs `ask`. Throws `namespace-missing` where Temporal answers that it has no such namespace. */
export async function namingNamespace<T>(place: NamespacePlace, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isNamespaceMissing(error)) throw error;
    throw new BasculeError('namespace-missing', place, { cause: error });
  }
}

const notFound = 5;

function isNamespaceMissing(error: unknown): boolean {
  if (error instanceof NamespaceNotFoundError) return true;
  return grpcCode(error) === notFound && error instanceof Error && /\bNamespace \S+ is not found/.test(error.message);
}
