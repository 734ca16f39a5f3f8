import * as z from 'zod';
import type { CertificateOrder, WantedCertificate } from '../domain/certificates.js';
import { BasculeError, type RetryAfter } from '../errors.js';
import { openAccount, ordersUrl } from './account.js';
import { type Authority, nameOf } from './authority.js';
import { type Order, orderObject, ordersObject } from './objects.js';
import {
  forgetOrder,
  isOrderOf,
  type OrderRecord,
  ordersOfOthers,
  type PlacedOrder,
  readOrder,
  sortedNames,
  writeOrder,
} from './order-record.js';
import { isUnavailable, refusalOf } from './problem.js';
import { renewalIdOfFile } from './renewal.js';
import type { Answer, Session } from './session.js';

interface BeginOptions {
  /** PEM file of the certificate that it is to renew: the authority then counts it as a renewal (RFC 9773, 5). */
  readonly replaces?: string;
  readonly signal?: AbortSignal;
}

const showOrder = 'show the order';
const placeOrder = 'take an order';
const listOrders = 'list the orders';

/** As long as an order that another certificate goes on with may take. */
const sharedOrderMs = 5_000;

/**
 * Begins an order, or goes on with the one that was begun: the same names never have two at once, whenever this ends.
 *
 * @throws `acme-account-missing`, `acme-refused`, `acme-rate-limited`, `acme-order-pending` where the authority gives the
 * order that another certificate goes on with, and those of `Session`
 */
export async function beginOrder(
  authority: Authority,
  wanted: WantedCertificate,
  { replaces, signal }: BeginOptions = {},
): Promise<CertificateOrder> {
  const { name } = wanted;
  const { session, account } = await openAccount(authority, signal);
  const recorded = await readOrder(authority, name);
  const begun = recorded && isOrderOf(authority, account, wanted, recorded) ? recorded : null;
  if (begun?.url) {
    const order = await usableOrder(session, begun.url);
    if (order) return describeOrder(wanted, { url: begun.url, order }, true);
  }
  // Whoever ended here between asking for an order and writing it down has one already.
  const lost = begun?.url === null ? await findOrder(authority, { session, account, wanted }) : null;
  if (!begun || begun.url !== null) await forgetOrder(authority, name);

  const intent: OrderRecord = {
    directory: authority.directory,
    account,
    names: sortedNames(wanted.names),
    profile: wanted.profile ?? null,
    url: null,
  };
  if (!lost) await writeOrder(authority, name, intent);
  const found = lost ?? (await newOrder(authority, session, wanted, replaces));
  if ((await ordersOfOthers(authority, name)).has(found.url)) {
    throw new BasculeError('acme-order-pending', {
      ca: nameOf(authority),
      what: `another certificate for ${intent.names.join(', ')} goes on with the same order`,
      retryAfterMs: sharedOrderMs,
    });
  }
  await writeOrder(authority, name, { ...intent, url: found.url });
  return describeOrder(wanted, found, lost !== null);
}

/** Forgets an order and its key, as it is done with. Whoever ends here does it again. */
export async function closeOrder(authority: Authority, name: string): Promise<void> {
  await forgetOrder(authority, name);
}

/** The order as its authority shows it now, and when it wants to be asked again. */
export async function lookAtOrder(
  session: Session,
  url: string,
): Promise<{ readonly order: Order; readonly retry: RetryAfter }> {
  const answer = await session.post(showOrder, url, null);
  return { order: readAnswer(session, showOrder, answer), retry: answer.retry };
}

/** Reads an order. Throws `acme-answer-unreadable`. */
export const readAnswer = (session: Session, act: string, { body }: Answer): Order =>
  session.read(act, orderObject, body);

/** What is to be waited for in an order. */
export const orderInWords = ({ names }: Pick<PlacedOrder, 'names'>, { status }: Pick<Order, 'status'>): string =>
  `the order for ${names.join(', ')} is ${status}`;

interface FoundOrder {
  readonly url: string;
  readonly order: Order;
}

/** An order that can be gone on with; null where it has failed, has run out, or is not known any more. */
async function usableOrder(session: Session, url: string): Promise<Order | null> {
  try {
    const { order } = await lookAtOrder(session, url);
    const hasRunOut = order.expires !== undefined && Date.parse(order.expires) <= Date.now();
    return order.status === 'invalid' || hasRunOut ? null : order;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal && refusal.type !== 'accountDoesNotExist') return null;
    throw error;
  }
}

/** The order that was asked for and not written down; null where there is none, or where the authority shows no list. */
async function findOrder(
  authority: Authority,
  { session, account, wanted }: { session: Session; account: string; wanted: WantedCertificate },
): Promise<FoundOrder | null> {
  const others = await ordersOfOthers(authority, wanted.name);
  for (let page = await ordersUrl(session, account); page !== null; ) {
    const answer = await session.post(listOrders, page, null);
    const { orders } = session.read(listOrders, ordersObject, answer.body);
    for (const url of orders.filter((each) => !others.has(each))) {
      const order = await usableOrder(session, url);
      // One that is further on was finalized, so it was written down.
      const isBegun = order?.status === 'pending' || order?.status === 'ready';
      if (isBegun && isFor(order, wanted)) return { url, order };
    }
    page = answer.next;
  }
  return null;
}

const isFor = ({ identifiers = [], profile }: Order, wanted: WantedCertificate): boolean =>
  sortedNames(identifiers.map(({ value }) => value)).join() === sortedNames(wanted.names).join() &&
  (wanted.profile === undefined || profile === undefined || profile === wanted.profile);

async function newOrder(
  { host }: Authority,
  session: Session,
  wanted: WantedCertificate,
  replaces: string | undefined,
): Promise<FoundOrder> {
  const newOrderUrl = await session.directoryUrl('newOrder');
  const { renewalInfo } = await session.directory();
  const order = {
    identifiers: sortedNames(wanted.names).map((value) => ({ type: 'dns', value })),
    ...(wanted.profile !== undefined && { profile: wanted.profile }),
  };
  const place = async (payload: object): Promise<FoundOrder> => {
    const answer = await session.post(placeOrder, newOrderUrl, payload);
    const url = session.read(placeOrder, z.string({ message: 'no Location' }), answer.location);
    return { url, order: readAnswer(session, placeOrder, answer) };
  };
  // Advisory: what the authority says of it, or that it fails at it, is no reason to go without a certificate.
  const renews = renewalInfo && replaces ? await renewalIdOfFile(host, replaces) : null;
  if (renews === null) return await place(order);
  try {
    return await place({ ...order, replaces: renews });
  } catch (error) {
    if (!refusalOf(error) && !isUnavailable(error)) throw error;
    return await place(order);
  }
}

const describeOrder = (
  wanted: WantedCertificate,
  { url, order }: FoundOrder,
  isResumed: boolean,
): CertificateOrder => ({
  url,
  names: sortedNames(wanted.names),
  status: order.status === 'invalid' ? 'pending' : order.status,
  expires: order.expires ?? null,
  isResumed,
});
