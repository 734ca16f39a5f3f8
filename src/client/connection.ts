import { Client, Connection, ServiceError } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { BasculeError } from '../errors.js';
import { dataConverter, readEncryptionKeys } from './encryption.js';
import { isListening, isLoopback, parseAddress } from './listening.js';

/** How long Temporal may take to answer before it counts as not reachable. */
const reachableWithinMs = 5_000;

/** Temporal's default address, where neither TEMPORAL_ADDRESS nor a profile names one. */
const defaultAddress = '127.0.0.1:7233';

/** What the environment and temporal.toml say about Temporal (`@temporalio/envconfig`). */
export function connectionSettings() {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  return {
    connectionOptions: { ...connectionOptions, address: connectionOptions.address ?? defaultAddress },
    namespace: namespace ?? 'default',
  };
}

/** Throws `temporal-unreachable`, `encryption-key-invalid`. The caller closes `client.connection`. */
export async function connectClient(): Promise<Client> {
  const { connectionOptions, namespace } = connectionSettings();
  const { address } = connectionOptions;
  const converter = dataConverter(readEncryptionKeys());
  await assertListening();
  try {
    const connection = await Connection.connect({ ...connectionOptions, connectTimeout: reachableWithinMs });
    return new Client({ connection, namespace, dataConverter: converter });
  } catch (error) {
    throw new BasculeError('temporal-unreachable', { address }, { cause: error });
  }
}

/**
 * Throws `temporal-unreachable` where nobody listens at Temporal's address on this machine: gRPC would try again for a
 * while. Of another machine's address only gRPC can tell.
 */
export async function assertListening(): Promise<void> {
  const { address } = connectionSettings().connectionOptions;
  const place = parseAddress(address);
  if (isLoopback(place) && !(await isListening(place))) throw new BasculeError('temporal-unreachable', { address });
}

// gRPC's codes of an answer that did not come (https://grpc.io/docs/guides/status-codes/).
const cancelled = 1;
const deadlineExceeded = 4;
/** A query whose task queue no worker has polled lately. */
const failedPrecondition = 9;
const unavailable = 14;

/** Whether an error says that Temporal, or a worker behind it, did not answer. */
export function isUnanswered(error: unknown): boolean {
  return [cancelled, deadlineExceeded, failedPrecondition, unavailable].includes(grpcCode(error) ?? -1);
}

/** gRPC's code of the error or of what caused it. */
export function grpcCode(error: unknown): number | null {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'number') return cause.code;
    if (!(cause instanceof ServiceError) && cause.cause === undefined) return null;
  }
  return null;
}
