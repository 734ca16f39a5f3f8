import { type Document, isAlias, isMap, isNode, isScalar, isSeq } from 'yaml';
import type { Problem } from './problem.js';

/**
 * Offset in the text of what a problem is about: the value, its key, or, where neither exists, the key of the nearest
 * parent that does (for the top level its first character).
 */
export function offsetOf(document: Document, problem: Problem): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [index, part] of problem.path.entries()) {
    const child = childOf(document, node, part);
    if (!child) return offset;
    const isTarget = index === problem.path.length - 1;
    const place = isTarget && problem.at === 'value' ? child.value : child.key;
    offset = startOf(place) ?? startOf(child.key) ?? offset;
    node = child.value;
  }
  return offset;
}

function childOf(document: Document, node: unknown, part: string | number): { key: unknown; value: unknown } | null {
  const collection = isAlias(node) ? node.resolve(document) : node;
  if (isSeq(collection)) {
    const item = collection.items[Number(part)];
    return item === undefined ? null : { key: item, value: item };
  }
  if (!isMap(collection)) return null;
  // Of a key that stands twice the last value is the one that was read.
  return collection.items.findLast(({ key }) => String(isScalar(key) ? key.value : key) === part) ?? null;
}

const startOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined);
