import { describe, expect, test } from 'vitest';
import type * as z from 'zod';
import {
  accountObject,
  authorizationObject,
  challengeToAnswer,
  directoryObject,
  orderObject,
  ordersObject,
  parseObject,
  problemObject,
  renewalInfoObject,
} from '../../src/acme/objects.js';

interface Row {
  readonly object: string;
  readonly state: string;
  readonly schema: z.ZodType;
  /** With every member that RFC 8555 has for it. */
  readonly whole: Readonly<Record<string, unknown>>;
  /** What Bascule uses in that state; nothing else is asked for. */
  readonly needs: readonly string[];
}

const url = 'https://ca.test/x';
const identifier = { type: 'dns', value: 'shop.test' };
const problem = {
  type: 'urn:ietf:params:acme:error:dns',
  title: 'No',
  detail: 'no such name',
  status: 400,
  instance: url,
  identifier,
  subproblems: [{ type: 'urn:ietf:params:acme:error:dns', detail: 'no such name', identifier }],
};
const order = {
  ...{ expires: '2027-01-01T00:00:00Z', notBefore: '2026-01-01T00:00:00Z', notAfter: '2026-04-01T00:00:00Z' },
  ...{ identifiers: [identifier], profile: 'shortlived', authorizations: [url], finalize: url, certificate: url },
  error: problem,
};
const challenge = {
  type: 'http-01',
  url,
  status: 'pending',
  token: 't',
  validated: '2026-01-01T00:00:00Z',
  error: problem,
};
const authorization = { identifier, expires: '2027-01-01T00:00:00Z', challenges: [challenge], wildcard: false };

const inStates = (
  object: string,
  schema: z.ZodType,
  members: object,
  needs: Readonly<Record<string, readonly string[]>>,
): readonly Row[] =>
  Object.entries(needs).map(([state, own]) => ({
    ...{ object, state, schema, whole: { status: state, ...members }, needs: ['status', ...own] },
  }));

const rows: readonly Row[] = [
  {
    ...{ object: 'directory', state: 'any', schema: directoryObject, needs: [] },
    whole: {
      ...{ newNonce: url, newAccount: url, newOrder: url, newAuthz: url, revokeCert: url, keyChange: url },
      ...{ renewalInfo: url, meta: { termsOfService: url, website: url, caaIdentities: ['ca.test'] } },
    },
  },
  ...['valid', 'deactivated', 'revoked'].map((status) => ({
    ...{ object: 'account', state: status, schema: accountObject, needs: [] },
    whole: { status, contact: [], termsOfServiceAgreed: true, externalAccountBinding: {}, orders: url },
  })),
  { object: 'list of orders', state: 'any', schema: ordersObject, needs: [], whole: { orders: [url] } },
  ...inStates('order', orderObject, order, {
    ...{ pending: ['authorizations'], ready: ['finalize'], processing: [], valid: [], invalid: [] },
  }),
  ...inStates('authorization', authorizationObject, authorization, {
    ...{ pending: [], valid: [], invalid: [], deactivated: [], expired: [], revoked: [] },
  }),
  { object: 'problem', state: 'any', schema: problemObject, needs: [], whole: problem },
  {
    ...{ object: 'renewal information', state: 'any', schema: renewalInfoObject, needs: ['suggestedWindow'] },
    whole: {
      suggestedWindow: { start: '2026-03-01T00:00:00Z', end: '2026-03-02T00:00:00Z' },
      explanationURL: url,
    },
  },
];

describe('of each object of an authority, in each state, only what Bascule uses is asked for', () => {
  const cases = rows.flatMap(({ whole, ...row }) =>
    Object.keys(whole).flatMap((member) =>
      (['absent', 'null'] as const).map((how) => {
        const { [member]: _, ...rest } = whole;
        const body = how === 'null' ? { ...whole, [member]: null } : rest;
        return { ...row, member, how, body, isNeeded: row.needs.includes(member) };
      }),
    ),
  );

  test.each(cases)('$object ($state): $member $how', ({ schema, body, member, isNeeded }) => {
    const { success, error } = parseObject(schema, body);
    expect({ success, at: error?.issues[0]?.path }).toEqual(
      isNeeded ? { success: false, at: [member] } : { success: true, at: undefined },
    );
  });

  test.each(rows)('$object ($state): all at once', ({ schema, whole, needs }) => {
    const nulls = Object.fromEntries(
      Object.entries(whole).map(([member, value]) => [member, needs.includes(member) ? value : null]),
    );
    expect(parseObject(schema, nulls).success).toBe(true);
  });
});

describe('the challenge of a pending authorization', () => {
  const answerTo = (...challenges: readonly unknown[]) => {
    const { data, error } = parseObject(authorizationObject, { status: 'pending', challenges });
    return data ? challengeToAnswer(data) : error?.issues[0]?.path;
  };

  test.each(
    Object.keys(challenge).flatMap((member) =>
      (['absent', 'null'] as const).map((how) => ({ member, how, isNeeded: ['type', 'url'].includes(member) })),
    ),
  )('with $member $how', ({ member, how, isNeeded }) => {
    const { [member as keyof typeof challenge]: _, ...rest } = challenge;
    const answer = answerTo(how === 'null' ? { ...challenge, [member]: null } : rest);
    if (!isNeeded) expect(answer).toEqual({ offered: 'http-01', url });
    else expect(answer).toEqual(member === 'url' ? ['challenges', 0, 'url'] : { offered: '' });
  });

  test('is the one by HTTP, whatever the others look like', () => {
    const others = [{ type: 'dns-account-01' }, { type: 'onion-csr-01', url: null, nonce: 7 }, 'rubbish', null];
    expect(answerTo(...others, challenge)).toEqual({ offered: 'http-01', url });
    expect(answerTo(...others)).toEqual({ offered: 'dns-account-01, onion-csr-01' });
  });

  test('is told to the authority once', () => {
    expect(answerTo({ ...challenge, status: 'processing', url: null })).toBeNull();
  });
});
