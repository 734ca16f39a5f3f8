import * as z from 'zod';

/**
 * The objects of an ACME authority (RFC 8555, 7.1). Authorities leave out what a state does not need, or send null for it:
 * each state asks only for the members that Bascule uses in it.
 */

/** Parses an object of an authority. A member that is null counts as absent. */
export const parseObject = <T extends z.ZodType>(schema: T, body: unknown): z.ZodSafeParseResult<z.infer<T>> =>
  schema.safeParse(withoutNulls(body));

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((each) => each !== null).map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).filter(([, each]) => each !== null);
  return Object.fromEntries(members.map(([name, each]) => [name, withoutNulls(each)]));
}

/** A member that only informs: one of another type counts as absent. */
const optional = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);
const needed = z.string({ error: ({ input }) => (input === undefined ? 'missing' : 'not a string') });
const urls = z.array(z.string(), { error: ({ input }) => (input === undefined ? 'missing' : 'not a list') });

/** 7.1.1. Whoever uses one of its URLs asks for it by `Session.directoryUrl`. */
export const directoryObject = z.object({
  newNonce: optional(z.string()),
  newAccount: optional(z.string()),
  newOrder: optional(z.string()),
  revokeCert: optional(z.string()),
  renewalInfo: optional(z.string()),
  meta: z
    .object({
      externalAccountRequired: optional(z.boolean()),
      caaIdentities: optional(z.array(z.string())),
    })
    .catch({}),
});

export type Directory = z.infer<typeof directoryObject>;

/** 7.1.2. An authority may keep no list of orders. */
export const accountObject = z.object({ orders: optional(z.string()) });

/** 7.1.2.1 */
export const ordersObject = z.object({ orders: z.array(z.string()).default([]) });

const identifier = optional(z.object({ value: optional(z.string()) }));
const subproblem = z.object({ type: optional(z.string()), detail: optional(z.string()), identifier }).catch({});

/** 6.7, a problem document of RFC 7807. */
export const problemObject = z.object({
  type: optional(z.string()),
  detail: optional(z.string()),
  title: optional(z.string()),
  subproblems: optional(z.array(subproblem)),
});

export type Problem = z.infer<typeof problemObject>;

const ofEveryOrder = {
  expires: optional(z.string()),
  identifiers: optional(z.array(z.object({ value: z.string() }))),
  profile: optional(z.string()),
};

/** 7.1.3 */
export const orderObject = z.discriminatedUnion('status', [
  z.object({ status: z.literal('pending'), ...ofEveryOrder, authorizations: urls }),
  z.object({ status: z.literal('ready'), ...ofEveryOrder, finalize: needed }),
  z.object({ status: z.literal('processing'), ...ofEveryOrder }),
  // Some say that it is valid a moment before they say where it is.
  z.object({ status: z.literal('valid'), ...ofEveryOrder, certificate: optional(z.string()) }),
  z.object({ status: z.literal('invalid'), ...ofEveryOrder, error: optional(problemObject) }),
]);

export type Order = z.infer<typeof orderObject>;
export type ReadyOrder = Extract<Order, { status: 'ready' }>;

/** 7.1.5. Of the kinds that Bascule does not answer nothing is asked. */
const challengeObject = z
  .object({
    type: optional(z.string()),
    url: optional(z.string()),
    status: optional(z.string()),
    error: optional(problemObject),
  })
  .catch({});

const challengesToAnswer = z
  .array(challengeObject)
  .default([])
  .superRefine((challenges, context) => {
    for (const [index, challenge] of challenges.entries()) {
      if (!isToAnswer(challenge) || challenge.url !== undefined) continue;
      context.addIssue({ code: 'custom', path: [index, 'url'], message: 'missing' });
    }
  });

const isToAnswer = ({ type, status = 'pending' }: z.infer<typeof challengeObject>): boolean =>
  type === 'http-01' && status === 'pending';

const ofEveryAuthorization = { identifier, challenges: z.array(challengeObject).catch([]) };
const ended = ['valid', 'invalid', 'deactivated', 'expired', 'revoked'] as const;

/** 7.1.4 */
export const authorizationObject = z.discriminatedUnion('status', [
  z.object({ status: z.literal('pending'), ...ofEveryAuthorization, challenges: challengesToAnswer }),
  z.object({ status: z.literal(ended), ...ofEveryAuthorization }),
]);

export type Authorization = z.infer<typeof authorizationObject>;

/** What has to be done for a pending authorization: the URL by which the authority is told to look, or nothing any more. */
export function challengeToAnswer({
  challenges,
}: Authorization): { readonly offered: string; readonly url?: string } | null {
  const own = challenges.find(({ type }) => type === 'http-01');
  if (!own) return { offered: challenges.flatMap(({ type }) => type ?? []).join(', ') };
  // One that it was told of already is processing.
  return isToAnswer(own) && own.url !== undefined ? { offered: 'http-01', url: own.url } : null;
}

const moment = z.iso.datetime({ offset: true, error: 'not a moment (RFC 3339)' });

/** RFC 9773, 4.2 */
export const renewalInfoObject = z.object({ suggestedWindow: z.object({ start: moment, end: moment }) });
