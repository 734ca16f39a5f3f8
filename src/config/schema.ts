import * as z from 'zod';
import { defaults } from '../domain/defaults.js';
import { formatDuration, formatShare, formatSize } from './units.js';
import {
  addressRange,
  argv,
  bindAddress,
  cookieName,
  duration,
  expected,
  filePath,
  hostName,
  name,
  namePattern,
  percentage,
  poolName,
  port,
  positiveDuration,
  prefix,
  secretPath,
  size,
  text,
  urlPath,
  variableName,
  variablePattern,
  wholeNumber,
  yesOrNo,
} from './values.js';

/**
 * bascule.yaml, field by field, as it is written: nothing is converted and no default is filled in here (convert.ts does).
 * What one field alone can't tell is in checks.ts, the names of environments, components and variables among it.
 */

const variableSource = z
  .strictObject({ env: variableName.describe("A variable of the worker's environment.") }, expected('{ env: NAME }'))
  .describe("A secret in a variable of the worker's environment.");
const fileSource = z
  .strictObject(
    { file: secretPath.describe('A file that the worker can read; a final newline is cut.') },
    expected('{ file: PATH }'),
  )
  .describe('A secret in a file.');

const files = z.strictObject(
  {
    config: filePath.optional().describe(`The haproxy.cfg that Bascule installs. Default: ${defaults.edgeConfig}`),
    state: filePath.optional().describe(`Folder of the edge's state. Default: ${defaults.edgeState}`),
    certificates: filePath.optional().describe(`Folder of certificates. Default: ${defaults.edgeCertificates}`),
    socket: filePath.optional().describe(`Socket of HAProxy's runtime API. Default: ${defaults.edgeSocket}`),
    master: filePath.optional().describe("Socket of HAProxy's master CLI. Default: beside `socket`, …-master.sock"),
  },
  expected('the files of the edge: config, state, certificates, socket, master'),
);

const edge = z.strictObject(
  {
    name: name.optional().describe(`Name of the edge in workflow ids. Default: ${defaults.edgeName}`),
    host: z
      .strictObject(
        { driver: z.literal('local', expected('local')).describe('local: the machine of the worker.') },
        expected('{ driver: local }'),
      )
      .optional()
      .describe('Where HAProxy runs. Default: { driver: local }'),
    manage: yesOrNo.optional().describe('Whether Bascule starts this HAProxy itself. Default: true'),
    http: bindAddress.describe('Where HAProxy listens for HTTP: 127.0.0.1:8088, or "*:80" for every address.'),
    files: files.optional().describe('Where the files of the edge are; relative paths are beside this file.'),
    httpKeepAlive: positiveDuration
      .optional()
      .describe(
        `HAProxy's timeout http-keep-alive: how long an idle connection may still be answered by the release before. Default: ${formatDuration(defaults.httpKeepAliveMs)}`,
      ),
    hardStopAfter: positiveDuration
      .optional()
      .describe(
        `HAProxy's hard-stop-after: the longest life of an old HAProxy worker. Default: ${formatDuration(defaults.hardStopAfterMs)}`,
      ),
  },
  expected('the edge, with at least `http`'),
);

const soak = z.union(
  [
    duration,
    z.strictObject(
      {
        for: duration.optional().describe(`How long. Default: ${formatDuration(defaults.soak.forMs)}`),
        errorShare: percentage
          .optional()
          .describe(`Highest share of 5xx answers. Default: ${formatShare(defaults.soak.errorShare)}`),
        minRequests: wholeNumber(1, 1_000_000)
          .optional()
          .describe(`The share counts only from this many requests on. Default: ${defaults.soak.minRequests}`),
      },
      expected('{ for, errorShare, minRequests }'),
    ),
  ],
  expected('a duration such as 60s, or { for: 60s, errorShare: "1%", minRequests: 50 }'),
);

const environment = z.strictObject(
  {
    prefix: prefix.optional().describe("Prefix of its instances' names. Default: <project>-<environment>-"),
    hosts: z
      .array(hostName, expected('a list of host names'))
      .min(1, 'expected at least one host name')
      .describe('Public host names; upper and lower case are the same.'),
    approval: yesOrNo.optional().describe('Whether every deploy waits for approval before its switch. Default: false'),
    soak: soak
      .optional()
      .describe(
        `How long a new release is watched after its switch, and what makes it go back. Default: ${formatDuration(defaults.soak.forMs)}`,
      ),
    drain: duration
      .optional()
      .describe(
        `How long visitors of the release before may finish before its instances are replaced. Default: ${formatDuration(defaults.drainMs)}`,
      ),
  },
  expected('an environment, with at least `hosts`'),
);

const health = z.strictObject(
  {
    path: urlPath.describe('What is asked; an answer below 400 is healthy.'),
    interval: positiveDuration
      .optional()
      .describe(`Time between two checks. Default: ${formatDuration(defaults.health.intervalMs)}`),
    fall: wholeNumber(1, 100).optional().describe(`Failed checks until DOWN. Default: ${defaults.health.fall}`),
    rise: wholeNumber(1, 100).optional().describe(`Passed checks until UP. Default: ${defaults.health.rise}`),
  },
  expected('a health check, with at least `path`'),
);

const balance = z.union(
  [
    z.strictObject(
      { cookie: cookieName.describe('Sticky by the cookie <name>_<environment>.') },
      expected('{ cookie: NAME }'),
    ),
    z.strictObject(
      { hash: z.literal('uri', expected('uri')).describe('The same URI always goes to the same server.') },
      expected('{ hash: uri }'),
    ),
  ],
  expected('{ cookie: NAME } or { hash: uri }'),
);

const migrate = z.union(
  [
    argv,
    z.strictObject(
      {
        command: argv.describe('Program and arguments; no shell reads them.'),
        timeout: positiveDuration.optional().describe(`Default: ${formatDuration(defaults.migrateMs)}`),
      },
      expected('{ command, timeout }'),
    ),
  ],
  expected('a list such as ["node", "migrate.mjs"], or { command: […], timeout: 10m }'),
);

const envValue = z.union(
  [text(/^[^\0]*$/, 'a text without NUL'), variableSource, fileSource],
  expected('a text (quote numbers, true and false), { env: NAME } or { file: PATH }'),
);

const component = z.strictObject(
  {
    pool: poolName.optional().describe('Its HAProxy backend is named <environment>_<pool>. Default: <component>_pool'),
    port: port.optional().describe(`Port that its instances listen on. Default: ${defaults.componentPort}`),
    health: health.describe('How HAProxy and Bascule see that an instance works.'),
    routes: z
      .array(
        z.strictObject(
          { prefix: urlPath.describe('Requests whose path begins so go to this component.') },
          expected('a route such as { prefix: /api }'),
        ),
        expected('a list of routes such as [{ prefix: /api }]'),
      )
      .optional()
      .describe('Which requests it takes.'),
    default: yesOrNo
      .optional()
      .describe('It takes every request that no route takes. A single component is the default without being told.'),
    balance: balance.optional().describe('How requests are spread over instances. Default: round robin'),
    timeouts: z
      .strictObject(
        { tunnel: positiveDuration.optional().describe("HAProxy's timeout tunnel, for WebSockets.") },
        expected('{ tunnel: DURATION }'),
      )
      .optional()
      .describe('Timeouts of its pool.'),
    run: argv.describe(
      "Program and arguments, started in the release's folder with HOST and PORT; no shell reads them.",
    ),
    migrate: migrate.optional().describe('Run before the start of every deploy; it must be repeatable.'),
    env: z
      .record(z.string().meta({ pattern: variablePattern.source }), envValue, expected('variables and their values'))
      .optional()
      .describe(
        'Its environment variables: a text, { env: NAME } or { file: PATH }. Secrets belong into the last two.',
      ),
    startDeadline: positiveDuration
      .optional()
      .describe(
        `How long a started instance may take to be healthy. Default: ${formatDuration(defaults.startDeadlineMs)}`,
      ),
    stopGrace: duration
      .optional()
      .describe(`Time between SIGTERM and SIGKILL. Default: ${formatDuration(defaults.stopGraceMs)}`),
  },
  expected('a component, with at least `health` and `run`'),
);

const urlText = text(
  /^[A-Za-z0-9._~:/?@!$&'()*+,;=%{}-]{1,2048}$/,
  'a URL that begins with file:, http: or https:, with {component}, {environment} and {sha}',
);

const artifacts = z.strictObject(
  {
    url: urlText.describe('Where a release is: file:, http: or https:, with {sha}, {component} and {environment}.'),
    checksum: urlText
      .optional()
      .describe('Where its SHA-256 is, with {url} beside these. Default: the digest found at the first fetch'),
    token: z
      .union([variableSource, fileSource], expected('{ env: NAME } or { file: PATH }, never the token itself'))
      .optional()
      .describe('Where the bearer token for http: and https: is.'),
    maxSize: size.optional().describe(`Largest artifact. Default: ${formatSize(defaults.artifactMaxBytes)}`),
    timeout: positiveDuration.optional().describe(`Longest fetch. Default: ${formatDuration(defaults.artifactMs)}`),
  },
  expected('the artifacts, with at least `url`'),
);

const instances = z.strictObject(
  {
    driver: z
      .literal('process', expected('process'))
      .optional()
      .describe('process: each is a process. Default: process'),
    addresses: addressRange
      .optional()
      .describe(
        `A range within 127.0.0.0/8 (an address for each instance) or one address (a port for each). Default: ${defaults.addresses.address}/${defaults.addresses.prefixLength}`,
      ),
    directory: filePath.optional().describe(`Folder of the instances. Default: ${defaults.instancesDirectory}`),
    releasesKept: wholeNumber(2, 1_000)
      .optional()
      .describe(`Releases kept for each component and environment. Default: ${defaults.releasesKept}`),
  },
  expected('{ driver, addresses, directory, releasesKept }'),
);

const named = z.string().meta({ pattern: namePattern.source });

export const configurationSchema = z
  .strictObject(
    {
      version: z.literal(1, expected('1')).describe('Version of this format: 1.'),
      project: name.describe('Name of the project: begins workflow ids, the task queue and default prefixes.'),
      edge: edge.describe('The HAProxy that serves every environment.'),
      topology: z
        .literal('blue-green', expected('blue-green'))
        .optional()
        .describe('blue-green: two colors of each component, one of them active. Default: blue-green'),
      environments: z
        .record(named, environment, expected('environments such as { prod: { hosts: [www.example.org] } }'))
        .describe('The environments, by name.'),
      components: z
        .record(named, component, expected('components such as { web: { health: { path: / }, run: […] } }'))
        .describe('The services, by name; each has instances in every environment.'),
      artifacts: artifacts.describe('Where releases come from.'),
      instances: instances.optional().describe('Where instances run.'),
    },
    expected('a configuration: version, project, edge, environments, components, artifacts'),
  )
  .describe('bascule.yaml');

/** bascule.yaml as it is written. */
export type ConfigurationInput = z.infer<typeof configurationSchema>;
export type EnvironmentInput = ConfigurationInput['environments'][string];
export type ComponentInput = ConfigurationInput['components'][string];
export type SecretInput = NonNullable<ConfigurationInput['artifacts']['token']>;
