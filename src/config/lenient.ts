import type { Topology } from '../domain/configuration.js';
import type { ConfigurationInput, InstancesInput } from './schema.js';

/**
 * What is known of a configuration in which the schema found errors: each of its values may be undefined. A value that is
 * wrong is there, as undefined; one that is missing is not.
 */
type Lenient<T> = T extends readonly (infer Item)[]
  ? readonly (Lenient<Item> | undefined)[]
  : T extends object
    ? { readonly [Key in keyof T]?: Lenient<T[Key]> | undefined }
    : T;

export type LenientInput = Lenient<ConfigurationInput>;

export const isWrong = (parent: object, key: string): boolean =>
  key in parent && (parent as Record<string, unknown>)[key] === undefined;

/** Undefined where it is wrong. */
export const topologyOf = (input: LenientInput): Topology | undefined =>
  isWrong(input, 'topology') ? undefined : (input.topology ?? 'blue-green');

/** Undefined where it is wrong. */
export function driverOf(input: LenientInput): 'process' | 'incus' | undefined {
  const instances = input.instances ?? {};
  if (isWrong(input, 'instances') || isWrong(instances, 'driver')) return undefined;
  return instances.driver ?? 'process';
}

type IncusInput = Extract<InstancesInput, { readonly driver: 'incus' }>;
type ProcessesInput = Exclude<InstancesInput, IncusInput>;

/** `instances` where they are processes; null where they are not, or where that is not known. */
export const processesOf = (input: LenientInput): Lenient<ProcessesInput> | null =>
  driverOf(input) === 'process' ? ((input.instances ?? {}) as Lenient<ProcessesInput>) : null;

/** `instances` where they are instances of Incus; null where they are not, or where that is not known. */
export const incusInstancesOf = (input: LenientInput): Lenient<IncusInput> | null =>
  driverOf(input) === 'incus' ? ((input.instances ?? {}) as Lenient<IncusInput>) : null;
