import type { CaaRecord, promises as dns } from 'node:dns';
import { hasSystemCode } from '../system-error.js';

/** Tags that an authority knows (RFC 8659, 4); one that it does not know, and is critical, keeps it from issuing. */
const knownTags = ['issue', 'issuewild', 'iodef', 'contactemail', 'contactphone', 'issuemail', 'issuevmc'];

/**
 * Why an authority may not issue for a name by what stands in DNS; null where it may.
 *
 * @param identities by which the authority is named there
 * @throws what the resolver throws where no name server answers
 */
export async function whyForbidden(
  resolver: dns.Resolver,
  name: string,
  identities: readonly string[],
): Promise<string | null> {
  const { at, records } = await closestRecords(resolver, name);
  const critical = records.find((record) => isCritical(record) && !knownTags.some((tag) => tag in record));
  if (critical) return `${name}: a critical CAA record of ${at} has a tag that nobody knows`;
  const issuers = records.flatMap(({ issue }) => (issue === undefined ? [] : [issuerOf(issue)]));
  if (issuers.length === 0 || issuers.some((issuer) => identities.includes(issuer))) return null;
  const allowed = issuers.filter((issuer) => issuer !== '');
  return `${name}: CAA of ${at} allows ${allowed.join(', ') || 'nobody'}, and this authority is ${identities.join(' or ')}`;
}

const isCritical = ({ critical }: CaaRecord): boolean => critical > 0;

/** What stands before parameters such as `accounturi`. */
const issuerOf = (value: string): string => (value.split(';', 1)[0] ?? '').trim().toLowerCase();

/** The records of the name, else those of the closest one above it that has any (RFC 8659, 3). */
async function closestRecords(
  resolver: dns.Resolver,
  name: string,
): Promise<{ readonly at: string; readonly records: readonly CaaRecord[] }> {
  const labels = name.split('.');
  for (const [index] of labels.entries()) {
    const at = labels.slice(index).join('.');
    try {
      const records = await resolver.resolveCaa(at);
      if (records.length > 0) return { at, records };
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }
  return { at: name, records: [] };
}

/** Whether DNS answered that there is no such record. */
export const isAbsent = (error: unknown): boolean => hasSystemCode(error, 'ENOTFOUND', 'ENODATA');
