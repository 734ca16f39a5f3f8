import * as z from 'zod';
import { defaults } from '../../domain/defaults.js';
import { formatDuration } from '../units.js';
import {
  argv,
  cookieName,
  expected,
  fileExtension,
  name,
  poolName,
  port,
  positiveDuration,
  positiveStepDuration,
  serverAddress,
  stepDuration,
  systemUser,
  text,
  urlPath,
  variablePattern,
  wholeNumber,
  yesOrNo,
} from '../values.js';
import { fileSource, variableSource } from './secrets.js';

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
      { cookie: cookieName.describe('Sticky by the cookie <name>_<environment>, in multi-instance <name>.') },
      expected('{ cookie: NAME }'),
    ),
    z.strictObject(
      {
        hash: z.literal('uri', expected('uri')).describe('The same path always goes to the same server.'),
        depth: wholeNumber(1, 16)
          .optional()
          .describe('Only so many parts of the path count: with 2 all of /tracks/17/… is on one server. Default: all'),
      },
      expected('{ hash: uri, depth }'),
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
        timeout: positiveStepDuration.optional().describe(`Default: ${formatDuration(defaults.migrateMs)}`),
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

export const component = z.strictObject(
  {
    pool: poolName
      .optional()
      .describe(
        'Its HAProxy backend is named <environment>_<pool>, in multi-instance <pool>. Default: <component>_pool',
      ),
    port: port.optional().describe(`Port that its instances listen on. Default: ${defaults.componentPort}`),
    health: health.describe('How HAProxy and Bascule see that an instance works.'),
    routes: z
      .array(
        z.strictObject(
          {
            prefix: urlPath.describe('Requests whose path begins so go to this component.'),
            extensions: z
              .array(fileExtension, expected('a list of extensions such as [m3u8, ts]'))
              .min(1, 'expected at least one extension')
              .optional()
              .describe('Only where the path also ends so, without the dot: [m3u8, ts]. Default: any'),
          },
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
    slowStart: positiveDuration
      .optional()
      .describe("HAProxy's slowstart: how long a server that came up takes to its full share. Default: none"),
    instances: z
      .array(name, expected('a list of names of instances'))
      .min(1, 'expected at least one name')
      .optional()
      .describe('multi-instance: names of its instances.'),
    fallback: z
      .array(serverAddress, expected('a list of addresses such as ["10.0.20.11:8080"]'))
      .min(1, 'expected at least one address')
      .optional()
      .describe('multi-instance: its servers where its instances are not known.'),
    timeouts: z
      .strictObject(
        {
          server: positiveDuration
            .optional()
            .describe(
              `HAProxy's timeout server: how long an instance may send nothing while it has a request, as in a long poll or between server-sent events. Default: ${formatDuration(defaults.timeouts.serverMs)}`,
            ),
          tunnel: positiveDuration
            .optional()
            .describe(
              `HAProxy's timeout tunnel, for WebSockets. Default: ${formatDuration(defaults.timeouts.tunnelMs)}`,
            ),
        },
        expected('{ server: DURATION, tunnel: DURATION }'),
      )
      .optional()
      .describe('Timeouts of its pool.'),
    run: argv
      .optional()
      .describe(
        "Program and arguments, started in the release's folder with HOST and PORT; no shell reads them. In multi-instance it may be left out: then Bascule runs nothing of the component.",
      ),
    user: systemUser.optional().describe('driver incus: whom its program runs as. Default: <project>-<component>'),
    profiles: z
      .array(name, expected("a list of Incus's profiles"))
      .min(1, 'expected at least one profile')
      .optional()
      .describe(
        'driver incus: profiles that its instances get besides `instances.profiles`: limits, devices, cloud-init. What a later one says comes before.',
      ),
    migrate: migrate.optional().describe('Run before the start of every deploy; it must be repeatable.'),
    env: z
      .record(z.string().meta({ pattern: variablePattern.source }), envValue, expected('variables and their values'))
      .optional()
      .describe(
        'Its environment variables: a text, { env: NAME } or { file: PATH }. Secrets belong into the last two.',
      ),
    startDeadline: positiveStepDuration
      .optional()
      .describe(
        `How long a started instance may take to be healthy. Default: ${formatDuration(defaults.startDeadlineMs)}`,
      ),
    stopGrace: stepDuration
      .optional()
      .describe(`Time between SIGTERM and SIGKILL. Default: ${formatDuration(defaults.stopGraceMs)}`),
  },
  expected('a component, with at least `health`'),
);
