/** Every default of bascule.yaml and of the commands, in one block. Times are milliseconds, sizes bytes. */
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const megabyte = 1_000_000;

export const defaults = {
  edgeName: 'local',
  edgeConfig: '.bascule/edge/haproxy.cfg',
  edgeState: '.bascule/edge/state',
  edgeCertificates: '.bascule/edge/certificates',
  edgeSocket: '.bascule/edge/haproxy.sock',
  httpKeepAliveMs: 5 * second,
  hardStopAfterMs: 1 * hour,
  /** On each address of the edge. */
  connections: 4096,
  edgeChangeMs: 2 * minute,

  componentPort: 8080,
  health: { intervalMs: 2 * second, fall: 3, rise: 2 },
  timeouts: { serverMs: 60 * second, tunnelMs: 1 * hour },
  startDeadlineMs: 60 * second,
  stopGraceMs: 30 * second,
  migrateMs: 10 * minute,

  soak: { forMs: 60 * second, errorShare: 0.05, minRequests: 50 },
  drainMs: 5 * minute,
  approvalMs: 24 * hour,

  artifactMaxBytes: 2_000 * megabyte,
  artifactMs: 10 * minute,

  addresses: { address: '127.77.0.0', prefixLength: 16 },
  instancesDirectory: '.bascule/instances',
  addressBook: '.bascule/addresses.json',
  releasesKept: 5,
  logBytes: 50 * megabyte,
  logFiles: 5,

  provision: {
    image: 'images:debian/12',
    storage: 'default',
    network: 'bascule0',
    profile: 'bascule',
    listen: '*',
  },

  /** How long an authority may take for one certificate: where a person waits, and at a renewal by the schedule. */
  certificatePatienceMs: 15 * minute,
  renewalPatienceMs: 12 * hour,

  commandTimeoutMs: 30 * minute,
} as const;

/** How long Temporal keeps an operation after its end, where Bascule runs Temporal itself; no key of bascule.yaml. */
export const operationsKeptMs = 30 * 24 * hour;
