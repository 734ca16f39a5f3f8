const backend = ['the migration of backend ran and is not taken back'];
const both = [...backend, 'the migration of web ran and is not taken back'];

/** Each step of a rolling deploy in order, and what is lost where it ends there. */
export const rollingSteps: Readonly<Record<string, readonly string[]>> = {
  pinRelease: [],
  'fetchArtifact backend': [],
  'fetchArtifact web': [],
  'drainInstance backend-1': [],
  'replaceRelease backend-1': [],
  'migrate backend-1': backend,
  'startInstance backend-1': backend,
  'admitInstance backend-1': backend,
  'drainInstance backend-2': backend,
  'replaceRelease backend-2': backend,
  'startInstance backend-2': backend,
  'admitInstance backend-2': backend,
  'drainInstance web-1': backend,
  'replaceRelease web-1': backend,
  'migrate web-1': both,
  'startInstance web-1': both,
  'admitInstance web-1': both,
  'recordReleases now': both,
  pruneInstances: [],
};

/** What takes back one instance, in order. */
export const rollingTakeBacks = [
  'retakeInstance',
  'replaceRelease',
  'startInstance',
  'admitInstance',
  'leaveFailed',
] as const;
