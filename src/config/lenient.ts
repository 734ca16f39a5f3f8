import type { ConfigurationInput } from './schema.js';

/** What is known of a configuration in which the schema found errors: each of its values may be undefined. */
type Lenient<T> = T extends readonly (infer Item)[]
  ? readonly (Lenient<Item> | undefined)[]
  : T extends object
    ? { readonly [Key in keyof T]?: Lenient<T[Key]> | undefined }
    : T;

export type LenientInput = Lenient<ConfigurationInput>;
