/**
 * How long a workflow task that a worker has taken may last: it takes milliseconds, and one that a killed worker had in
 * hand is given to another worker only after this long. Temporal's default is 10 s.
 */
export const workflowTaskTimeoutMs = 5_000;
