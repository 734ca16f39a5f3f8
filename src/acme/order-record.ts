import { join } from 'node:path';
import * as z from 'zod';
import type { WantedCertificate } from '../domain/certificates.js';
import { BasculeError } from '../errors.js';
import type { Authority } from './authority.js';
import { certificateFiles, certificatesFolder, isOfOneOrder } from './places.js';

const recordSchema = z.object({
  directory: z.string(),
  account: z.string(),
  names: z.array(z.string()),
  profile: z.string().nullable(),
  /** Null while it is not known whether the authority has it: it is about to be asked for it. */
  url: z.string().nullable(),
});

/** What order.json says. */
export type OrderRecord = z.infer<typeof recordSchema>;

export interface PlacedOrder extends OrderRecord {
  readonly url: string;
}

/** Names in the one order in which they are compared. */
export const sortedNames = (names: readonly string[]): string[] =>
  [...new Set(names.map((name) => name.toLowerCase()))].toSorted();

/** The order of a certificate that was begun and is not done with; null where there is none. */
export async function readOrder({ host, state }: Authority, name: string): Promise<OrderRecord | null> {
  const text = await host.readState(certificateFiles(state, name).order);
  if (text === null) return null;
  try {
    return recordSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Damaged: the authority is asked for one, and gives the one that it has where it can.
    return null;
  }
}

/** As `readOrder`, where the authority gave it. Throws `acme-order-missing`. */
export async function placedOrder(authority: Authority, name: string): Promise<PlacedOrder> {
  const order = await readOrder(authority, name);
  if (!order || order.url === null || order.directory !== authority.directory) {
    throw new BasculeError('acme-order-missing', { name, file: certificateFiles(authority.state, name).order });
  }
  return { ...order, url: order.url };
}

export async function writeOrder({ host, state }: Authority, name: string, order: OrderRecord): Promise<void> {
  await host.writePrivately(certificateFiles(state, name).order, `${JSON.stringify(order)}\n`);
}

/** Forgets an order, so that the next try begins a new one; its key goes with it. */
export async function forgetOrder({ host, state }: Authority, name: string): Promise<void> {
  const { folder, order } = certificateFiles(state, name);
  await host.remove(order);
  for (const entry of await host.readFolder(folder)) if (isOfOneOrder(entry)) await host.remove(join(folder, entry));
}

/** URLs of the orders that other certificates go on with. */
export async function ordersOfOthers(authority: Authority, name: string): Promise<ReadonlySet<string>> {
  const others = (await authority.host.readFolder(certificatesFolder(authority.state))).filter((each) => each !== name);
  const orders = await Promise.all(others.map((each) => readOrder(authority, each)));
  return new Set(orders.flatMap((order) => order?.url ?? []));
}

/** Whether an order is for this certificate. */
export const isOrderOf = (
  { directory }: Authority,
  account: string,
  wanted: WantedCertificate,
  order: OrderRecord,
): boolean =>
  order.directory === directory &&
  order.account === account &&
  order.profile === (wanted.profile ?? null) &&
  order.names.join() === sortedNames(wanted.names).join();
