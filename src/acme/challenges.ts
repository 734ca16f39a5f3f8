import * as z from 'zod';
import { BasculeError } from '../errors.js';
import { openAccount } from './account.js';
import { type Authority, nameOf, type Patience } from './authority.js';
import { lookAtOrder, orderInWords } from './order.js';
import { forgetOrder, placedOrder } from './order-record.js';
import { poll } from './polling.js';
import { problemDocument, problemInWords } from './problem.js';
import type { Session } from './session.js';

const authorizationSchema = z.object({
  status: z.enum(['pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked']),
  identifier: z.object({ value: z.string() }),
  challenges: z.array(
    z.object({
      type: z.string(),
      url: z.string(),
      status: z.string(),
      error: problemDocument.optional(),
    }),
  ),
});

type Authorization = z.infer<typeof authorizationSchema>;

const atOnce = 10;
const show = 'show an authorization';

/**
 * Tells the authority to look at each name that it has not seen yet, and waits until it has. The edge answers by itself,
 * with the thumbprint of the account's key. Where a name has failed, the order is forgotten: the next one begins anew.
 *
 * @throws `challenge-failed`, `acme-order-missing`, `acme-order-pending`, and those of `Session`
 */
export async function answerChallenges(authority: Authority, name: string, patience: Patience = {}): Promise<void> {
  const placed = await placedOrder(authority, name);
  const failed = new AbortController();
  const signals = [failed.signal, ...(patience.signal ? [patience.signal] : [])];
  const together: Patience = { ...patience, signal: AbortSignal.any(signals) };
  const { session } = await openAccount(authority, together.signal);
  const { order } = await lookAtOrder(session, placed.url);
  if (order.status === 'ready' || order.status === 'processing' || order.status === 'valid') return;

  const waiting = [...order.authorizations];
  const problems: string[] = [];
  const answerSome = async (): Promise<void> => {
    for (let url = waiting.shift(); url !== undefined; url = waiting.shift()) {
      const problem = await answerOne(authority, session, url, together);
      if (problem !== null) problems.push(problem);
    }
  };
  const answering = Array.from({ length: atOnce }, answerSome);
  try {
    await Promise.all(answering);
  } catch (error) {
    // The next try begins anew with all of them: nobody may go on with some until then.
    failed.abort(error);
    await Promise.allSettled(answering);
    throw error;
  }
  if (problems.length > 0) {
    await forgetOrder(authority, name);
    throw new BasculeError('challenge-failed', { ca: nameOf(authority), problems: problems.toSorted() });
  }

  const problem = await poll(authority, orderInWords(placed, order), together, async () => {
    const { order: seen, retryAfterMs } = await lookAtOrder(session, placed.url);
    if (seen.status === 'pending') return { retryAfterMs };
    return { ended: seen.status === 'invalid' ? problemInWords(seen.error ?? {}) : null };
  });
  if (problem !== null) {
    await forgetOrder(authority, name);
    throw new BasculeError('challenge-failed', { ca: nameOf(authority), problems: [problem] });
  }
}

/** Why a name has failed; null where it has not. */
async function answerOne(
  authority: Authority,
  session: Session,
  url: string,
  patience: Patience,
): Promise<string | null> {
  const look = async () => {
    const { body, retryAfterMs } = await session.post(show, url, null);
    return { authorization: session.read(show, authorizationSchema, body), retryAfterMs };
  };
  const { authorization: first } = await look();
  const { identifier, challenges } = first;
  if (first.status === 'pending') {
    const challenge = challenges.find(({ type }) => type === 'http-01');
    if (!challenge) {
      const offered = challenges.map(({ type }) => type).join(', ');
      return `${identifier.value}: the authority offers ${offered || 'no challenge'}, and no http-01`;
    }
    // One that it was told of already is processing.
    if (challenge.status === 'pending') await session.post('look at a challenge', challenge.url, {});
  }
  return await poll(authority, `it has not looked at ${identifier.value}`, patience, async () => {
    const { authorization, retryAfterMs } = await look();
    if (authorization.status === 'pending') return { retryAfterMs };
    return { ended: authorization.status === 'valid' ? null : failureInWords(authorization) };
  });
}

function failureInWords({ status, identifier, challenges }: Authorization): string {
  const error = challenges.find(({ error }) => error)?.error;
  return `${identifier.value}: ${error ? problemInWords(error) : `its authorization is ${status}`}`;
}
