import { type ConnectionLike, NamespaceNotFoundError } from '@temporalio/client';
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
