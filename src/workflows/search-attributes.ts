import { defineSearchAttributeKey, type SearchAttributePair, SearchAttributeType } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';

/** What "all failed deploys of prod" is found by; the worker checks that the server knows them before it starts. */
export const searchAttributes = {
  environment: defineSearchAttributeKey('BasculeEnvironment', SearchAttributeType.KEYWORD),
  kind: defineSearchAttributeKey('BasculeKind', SearchAttributeType.KEYWORD),
  sha: defineSearchAttributeKey('BasculeSha', SearchAttributeType.KEYWORD),
  outcome: defineSearchAttributeKey('BasculeOutcome', SearchAttributeType.KEYWORD),
} as const;

export function describeBySearchAttributes(values: { environment?: string; kind?: string; sha?: string | null }): void {
  const pairs: SearchAttributePair[] = [];
  if (values.environment) pairs.push({ key: searchAttributes.environment, value: values.environment });
  if (values.kind) pairs.push({ key: searchAttributes.kind, value: values.kind });
  if (values.sha) pairs.push({ key: searchAttributes.sha, value: values.sha });
  upsertSearchAttributes(pairs);
}

export function recordOutcome(outcome: string): void {
  upsertSearchAttributes([{ key: searchAttributes.outcome, value: outcome }]);
}
