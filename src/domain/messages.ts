import type { EdgeChange } from './edge-change.js';
import { shortSha } from './names.js';

/** What an edge change is, in a few words for a person. */
export function describeChange(change: EdgeChange): string {
  switch (change.kind) {
    case 'color':
      return `${change.environment}: ${change.from} → ${change.to} (${shortSha(change.sha)})`;
    case 'stand-down':
      return `${change.environment}: stand down the inactive color`;
    case 'apply':
      return 'apply bascule.yaml';
    case 'certificates':
      return describeCertificates(change.certificates.map(({ name }) => name));
  }
}

function describeCertificates(names: readonly string[]): string {
  const [first, second, third] = names;
  if (first === undefined) return 'answer challenges';
  if (third !== undefined) return `certificates of ${first} and ${names.length - 1} others`;
  return second === undefined ? `certificate of ${first}` : `certificates of ${first} and ${second}`;
}
