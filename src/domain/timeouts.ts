/**
 * How long a workflow task that a worker has taken may last: it takes milliseconds, and one that a killed worker had in
 * hand is given to another worker only after this long. Temporal's default is 10 s.
 */
export const workflowTaskTimeoutMs = 5_000;

/**
 * How many activities a worker runs at once; by default 100. Most of them only wait, for the edge, for a drain or a soak:
 * a hundred operations that wait for the edge would keep the edge's own steps from being run, for ever.
 */
export const activitiesAtOnce = 1_000;

/** How long a step of an operation may take by what bascule.yaml and the commands say; Temporal ends it after an hour more. */
export const longestStepMs = 86_400_000;
