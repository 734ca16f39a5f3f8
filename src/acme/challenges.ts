import { BasculeError } from '../errors.js';
import { openAccount } from './account.js';
import { type Authority, nameOf, type Patience } from './authority.js';
import { type Authorization, authorizationObject, challengeToAnswer } from './objects.js';
import { lookAtOrder, orderInWords } from './order.js';
import { forgetOrder, placedOrder } from './order-record.js';
import { poll } from './polling.js';
import { oneLine, problemInWords } from './problem.js';
import type { Session } from './session.js';

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

  const waiting = order.status === 'pending' ? [...order.authorizations] : [];
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
    const { order: seen, retry } = await lookAtOrder(session, placed.url);
    if (seen.status === 'pending') return { retry };
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
    const { body, retry } = await session.post(show, url, null);
    return { authorization: session.read(show, authorizationObject, body), retry };
  };
  const { authorization: first } = await look();
  const name = nameIn(first);
  if (first.status === 'pending') {
    const challenge = challengeToAnswer(first);
    if (challenge && challenge.url === undefined) {
      return `${name}: the authority offers ${oneLine(challenge.offered) || 'no challenge'}, and no http-01`;
    }
    if (challenge?.url !== undefined) await session.post('look at a challenge', challenge.url, {});
  }
  return await poll(authority, `it has not looked at ${name}`, patience, async () => {
    const { authorization, retry } = await look();
    if (authorization.status === 'pending') return { retry };
    return { ended: authorization.status === 'valid' ? null : failureInWords(authorization) };
  });
}

function failureInWords(authorization: Authorization): string {
  const { status, challenges } = authorization;
  const error = challenges.find(({ error }) => error)?.error;
  return `${nameIn(authorization)}: ${error ? problemInWords(error) : `its authorization is ${status}`}`;
}

const nameIn = ({ identifier }: Authorization): string => oneLine(identifier?.value ?? 'one of the names');
