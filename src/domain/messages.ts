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
  }
}
