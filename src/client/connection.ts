import { Client, Connection, ServiceError } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { BasculeError } from '../errors.js';
import { isListening, isLoopback, parseAddress } from '../listening.js';
import { dataConverter, readEncryptionKeys } from './encryption.js';

/** How long Temporal may take to answer before it counts as not reachable. */
const reachableWithinMs = 5_000;

/** Temporal's default address, where neither TEMPORAL_ADDRESS nor a profile names one. */
const defaultAddress = '127.0.0.1:7233';

/**
 * What the environment and temporal.toml say about Temporal (`@temporalio/envconfig`).
 *
 * @throws `temporal-settings-unusable`
 */
export function connectionSettings(env: NodeJS.ProcessEnv) {
  const { connectionOptions, namespace } = readSettings(env);
  return {
    connectionOptions: { ...connectionOptions, address: connectionOptions.address ?? defaultAddress },
    namespace: namespace ?? 'default',
  };
}

function readSettings(env: NodeJS.ProcessEnv) {
  const overrideEnvVars = Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
  try {
    return loadClientConnectConfig({ overrideEnvVars });
  } catch (error) {
    const isOfSystem = error instanceof Error && 'syscall' in error;
    // A parser quotes the line that it can't read, and a key may stand in it.
    const reason = isOfSystem ? error.message : 'it cannot be parsed';
    throw new BasculeError('temporal-settings-unusable', { reason });
  }
}

/**
 * The caller closes `client.connection`.
 *
 * @throws `temporal-unreachable`, `temporal-refused`, `temporal-settings-unusable`, `encryption-key-invalid`
 */
export async function connectClient(env: NodeJS.ProcessEnv): Promise<Client> {
  const { connectionOptions, namespace } = connectionSettings(env);
  const { address } = connectionOptions;
  const converter = dataConverter(readEncryptionKeys(env));
  await assertListening(address);
  try {
    const connection = await Connection.connect({ ...connectionOptions, connectTimeout: reachableWithinMs });
    return new Client({ connection, namespace, dataConverter: converter });
  } catch (error) {
    throw asUnreachable(error, address);
  }
}

/** Where a client asks: `host:port`. */
export function addressOf({ connection }: Client): string {
  return connection instanceof Connection ? connection.options.address : defaultAddress;
}

/** Why nobody could connect to Temporal: it does not answer, or does not want to. */
export function asUnreachable(error: unknown, address: string): BasculeError {
  const isRefused = [permissionDenied, unauthenticated].includes(grpcCode(error) ?? -1) || isNativeRefusal(error);
  return new BasculeError(isRefused ? 'temporal-refused' : 'temporal-unreachable', { address }, { cause: error });
}

/** The worker's connection has no code, only its words: of gRPC's two codes, and of a proxy's answer. */
const isNativeRefusal = (error: unknown): boolean =>
  error instanceof Error &&
  /valid authentication credentials|does not have permission|401 Unauthorized|403 Forbidden/.test(error.message);

/**
 * Throws `temporal-unreachable` where nobody listens at Temporal's address on this machine: gRPC would try again for a
 * while. Of another machine's address only gRPC can tell.
 */
export async function assertListening(address: string): Promise<void> {
  const place = parseAddress(address);
  if (isLoopback(place) && !(await isListening(place))) throw new BasculeError('temporal-unreachable', { address });
}

// gRPC's codes of an answer that did not come (https://grpc.io/docs/guides/status-codes/).
const cancelled = 1;
const deadlineExceeded = 4;
const permissionDenied = 7;
/** A query whose task queue no worker has polled lately. */
const failedPrecondition = 9;
const unavailable = 14;
const unauthenticated = 16;

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
