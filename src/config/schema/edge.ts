import * as z from 'zod';
import { defaults } from '../../domain/defaults.js';
import { formatDuration } from '../units.js';
import {
  bindAddress,
  days,
  expected,
  filePath,
  logTarget,
  name,
  namePattern,
  network,
  openedPath,
  positiveDuration,
  statusPattern,
  wholeNumber,
  yesOrNo,
} from '../values.js';

const files = z.strictObject(
  {
    config: filePath.optional().describe(`The haproxy.cfg that Bascule installs. Default: ${defaults.edgeConfig}`),
    state: filePath.optional().describe(`Folder of the edge's state. Default: ${defaults.edgeState}`),
    certificates: filePath.optional().describe(`Folder of certificates. Default: ${defaults.edgeCertificates}`),
    socket: filePath.optional().describe(`Socket of HAProxy's runtime API. Default: ${defaults.edgeSocket}`),
    master: filePath
      .optional()
      .describe(
        "Socket of HAProxy's master CLI. Default: beside `socket`, …-master.sock; in an instance of Incus that of Debian's service",
      ),
  },
  expected('the files of the edge: config, state, certificates, socket, master'),
);

const host = z.discriminatedUnion(
  'driver',
  [
    z.strictObject(
      { driver: z.literal('local').describe('local: on the machine of the worker.') },
      expected('{ driver: local }'),
    ),
    z.strictObject(
      {
        driver: z.literal('incus').describe('incus: in an instance of Incus.'),
        instance: name.describe('Name of that instance.'),
        project: name.optional().describe("Incus's project that it is in. Default: default"),
        remote: name
          .optional()
          .describe(
            "Where Incus runs, as the worker's `incus remote list` has it. Default: on the machine of the worker",
          ),
      },
      expected('{ driver: incus, instance: NAME, project: NAME, remote: NAME }'),
    ),
  ],
  expected('{ driver: local } or { driver: incus, instance: NAME }'),
);

const hsts = z.strictObject(
  {
    maxAge: days.describe('How long a browser asks over HTTPS only, in days: 365d.'),
    includeSubdomains: yesOrNo.optional().describe('Whether it does so for subdomains too. Default: false'),
  },
  expected('{ maxAge: 365d, includeSubdomains: false }'),
);

const perClientExpectation = 'a whole number from 1 to 1000000, or off';
const limits = z.strictObject(
  {
    connections: wholeNumber(10, 1_000_000)
      .optional()
      .describe(`Of all clients, on each address of the edge. Default: ${defaults.connections}`),
    perClient: z
      .union(
        [wholeNumber(1, 1_000_000), z.literal('off', expected(perClientExpectation))],
        expected(perClientExpectation),
      )
      .optional()
      .describe(
        'Of one address, by IPv6 of one network of /64, or off. Default: a tenth of `connections`, at least 10',
      ),
  },
  expected('{ connections: 4096, perClient: 400 }'),
);

const log = z.strictObject(
  {
    to: logTarget
      .optional()
      .describe(`stdout, a syslog server such as 127.0.0.1:514, or its socket such as /dev/log. Default: stdout`),
    format: z
      .enum(['json', 'haproxy'], expected('json or haproxy'))
      .optional()
      .describe(`json: one object for each request. haproxy: HAProxy's own \`option httplog\`. Default: json`),
  },
  expected('{ to, format }'),
);

const page = openedPath.describe('A file, beside this one where its path is relative; at most 8000 bytes.');
const lines = openedPath.optional();

const extra = z.strictObject(
  {
    global: lines.describe('A file with lines for the section `global`.'),
    defaults: lines.describe('A file with lines for the section `defaults`.'),
    frontend: lines.describe('A file with lines for the frontend.'),
    backend: z
      .record(
        z.string().meta({ pattern: namePattern.source }),
        openedPath.describe("A file with lines for each of this component's backends."),
        expected('components and their files'),
      )
      .optional()
      .describe('Files with lines for the backends, by component.'),
  },
  expected('files of lines for haproxy.cfg: { global, defaults, frontend, backend: { COMPONENT: FILE } }'),
);

export const edge = z.strictObject(
  {
    name: name.optional().describe(`Name of the edge in workflow ids. Default: ${defaults.edgeName}`),
    host: host.optional().describe('Where HAProxy runs. Default: { driver: local }'),
    manage: yesOrNo
      .optional()
      .describe(
        'Whether Bascule starts this HAProxy itself; in an instance of Incus its system does. Default: true for the driver local',
      ),
    http: bindAddress.describe('Where HAProxy listens for HTTP: 127.0.0.1:8088, or "*:80" for every IPv4 address.'),
    https: bindAddress
      .optional()
      .describe(
        'Where it listens for HTTPS, with the certificates of `files.certificates`. HTTP then redirects to it.',
      ),
    hsts: hsts.optional().describe('Strict-Transport-Security on every answer over HTTPS. Default: none'),
    trustedProxies: z
      .array(network, expected('a list of networks such as [10.0.0.0/8, "2001:db8::/32"]'))
      .min(1, 'expected at least one network')
      .optional()
      .describe(
        'Networks of the CDN or load balancer before the edge: from them X-Forwarded-For and X-Forwarded-Proto are believed. Default: none',
      ),
    limits: limits.optional().describe('How many connections clients may have at once.'),
    runtime: bindAddress
      .optional()
      .describe("HAProxy's runtime API over TCP, operator level, for exporters: 127.0.0.1:9100. Default: none"),
    metrics: bindAddress
      .optional()
      .describe("HAProxy's own Prometheus exporter, at /metrics: 127.0.0.1:8405. Default: none"),
    log: log.optional().describe('The access log. Default: none'),
    errors: z
      .record(
        z.string().meta({ pattern: statusPattern.source }),
        page,
        expected('pages such as { 503: errors/503.html }'),
      )
      .optional()
      .describe('Error pages of your own, by status. Default: those of HAProxy'),
    extra: extra.optional().describe('Lines of your own for haproxy.cfg. Default: none'),
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
