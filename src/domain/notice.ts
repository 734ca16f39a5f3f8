import type { CertificatesResult } from './issuance.js';
import { projectOfWorkflow } from './names.js';
import type { OperationResult } from './operation.js';

/** What is told of an operation that has ended. */
export interface Notice {
  /** One text with all of it: what Slack, Mattermost and others show. */
  readonly text: string;
  readonly project: string;
  /** Null where it is about certificates. */
  readonly environment: string | null;
  /** Its workflow id, such as `shop/prod/deploy/7`. */
  readonly operation: string;
  readonly kind: string;
  readonly outcome: string;
  /** Why it ended so; null where it succeeded. */
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string | null;
}

type Ended = Pick<
  OperationResult | CertificatesResult,
  'operation' | 'environment' | 'kind' | 'outcome' | 'code' | 'message' | 'remedy' | 'changed'
>;

/** Null where an operation succeeded and there was nothing to do, as on most days for certificates. */
export function noticeOf(ended: Ended): Notice | null {
  const { operation, environment, kind, outcome, code, message, remedy, changed } = ended;
  if (outcome === 'succeeded' && !changed) return null;
  const project = projectOfWorkflow(operation);
  const how = outcome === 'succeeded' ? `✔ ${project}: ${message}` : `✘ ${operation} ${outcome} (${code}): ${message}`;
  const text = remedy === null ? how : `${how}\n→ ${remedy}`;
  return { text, project, environment, operation, kind, outcome, code, message, remedy };
}
