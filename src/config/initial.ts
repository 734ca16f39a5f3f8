import { defaults } from '../domain/defaults.js';
import { BasculeError } from '../errors.js';
import { formatDuration, formatShare, formatSize } from './units.js';
import { nameExpectation, namePattern } from './values.js';

/** So that `<project>-prod-web-green` has at most 63 characters. */
const longestProject = 48;

/**
 * The bascule.yaml that `bascule init` writes: one environment, one component, and every default as a commented line.
 * Throws `usage` when the project's name is none.
 */
export function initialConfiguration({ project }: { readonly driver: 'process'; readonly project: string }): string {
  if (!namePattern.test(project) || project.length > longestProject) {
    throw new BasculeError('usage', {
      problem: `${JSON.stringify(project)} can't name a project here: expected ${nameExpectation}, ${longestProject} with the prefixes that \`init\` writes`,
      help: 'Name it with --project NAME.',
    });
  }
  const { addresses, health, soak, provision } = defaults;
  return `# yaml-language-server: $schema=./bascule.schema.json
# What is commented out is the default. \`bascule validate\` checks this file, \`bascule schema\` writes its JSON schema.
version: 1
project: ${project}
# topology: blue-green

edge:
  http: 127.0.0.1:8088             # "*:80" for every address
  # name: ${defaults.edgeName}
  # host: { driver: local }
  # manage: true                   # bascule runs this HAProxy itself
  # files:
  #   config: ${defaults.edgeConfig}
  #   state: ${defaults.edgeState}
  #   certificates: ${defaults.edgeCertificates}
  #   socket: ${defaults.edgeSocket}
  #   master: ${defaults.edgeSocket.replace(/\.sock$/, '-master.sock')}
  # httpKeepAlive: ${formatDuration(defaults.httpKeepAliveMs)}
  # hardStopAfter: ${formatDuration(defaults.hardStopAfterMs)}
  ## More that it may have:
  ##   https: "*:443"              with the certificates of files.certificates; http redirects to it
  ##   hsts: { maxAge: 365d }
  ##   trustedProxies: [10.0.0.0/8]   a CDN or load balancer before the edge
  ##   limits: { connections: ${defaults.connections}, perClient: 400 }
  ##   metrics: 127.0.0.1:8405     HAProxy's own Prometheus exporter
  ##   log: { to: stdout, format: json }
  ##   errors: { 503: errors/503.html }
  ##   extra: { frontend: haproxy/frontend.cfg, backend: { web: haproxy/web.cfg } }   lines of your own

environments:
  prod:
    hosts: [localhost]
    # prefix: ${project}-prod-
    # approval: false              # true: a deploy waits for \`bascule approve\`, at most ${formatDuration(defaults.approvalMs)}
    # soak: { for: ${formatDuration(soak.forMs)}, errorShare: ${formatShare(soak.errorShare)}, minRequests: ${soak.minRequests} }
    # drain: ${formatDuration(defaults.drainMs)}

components:
  web:
    run: ["node", "server.mjs"]    # started with HOST and PORT; no shell reads it
    health:
      path: /
      # interval: ${formatDuration(health.intervalMs)}
      # fall: ${health.fall}
      # rise: ${health.rise}
    # pool: web_pool
    # port: ${defaults.componentPort}
    # default: true                # it takes what no route takes; more components need one such
    # startDeadline: ${formatDuration(defaults.startDeadlineMs)}
    # stopGrace: ${formatDuration(defaults.stopGraceMs)}
    ## More that it may have:
    ##   routes: [{ prefix: /api }]
    ##   balance: { cookie: SERVERID }   or { hash: uri }
    ##   timeouts: { server: ${formatDuration(defaults.timeouts.serverMs)}, tunnel: ${formatDuration(defaults.timeouts.tunnelMs)} }
    ##   migrate: { command: ["node", "migrate.mjs"], timeout: ${formatDuration(defaults.migrateMs)} }
    ##   env: { LOG_LEVEL: info, DATABASE_URL: { file: secrets/database-url } }

artifacts:
  url: "file:./artifacts/{sha}.tar.gz"
  # maxSize: ${formatSize(defaults.artifactMaxBytes)}
  # timeout: ${formatDuration(defaults.artifactMs)}
  ## More that it may have:
  ##   checksum: "{url}.sha256"
  ##   token: { env: ARTIFACT_TOKEN }

## With \`edge.https\`: obtained by ACME, and renewed when one is due.
## certificates:
##   ca: letsencrypt               or letsencrypt-staging, or the https: URL of another directory
##   email: ops@example.org
##   domains: [[example.org, www.example.org]]

# instances:
#   driver: process
#   addresses: ${addresses.address}/${addresses.prefixLength}       # or one address such as 127.0.0.1: then each instance has its own port
#   directory: ${defaults.instancesDirectory}
#   releasesKept: ${defaults.releasesKept}                # for each component and environment

## With \`edge.host: { driver: incus, instance: NAME }\`: what \`bascule provision\` makes.
## provision:
##   image: ${provision.image}
##   storage: ${provision.storage}
##   network: ${provision.network}
##   profile: ${provision.profile}
##   listen: "${provision.listen}"                   the server's address, so that the edge sees its visitors'

## Told by POST when an operation has ended, as {"text": …}; a URL of Slack's or Mattermost's incoming webhooks, say.
## notify:
##   url: { env: NOTIFY_URL }

## Not settings: an edge change may take ${formatDuration(defaults.edgeChangeMs)}; a command waits ${formatDuration(defaults.commandTimeoutMs)} (--timeout); an
## authority may take ${formatDuration(defaults.certificatePatienceMs)} for a certificate, or ${formatDuration(defaults.renewalPatienceMs)} at its renewal; each log is kept as
## ${defaults.logFiles} files of ${formatSize(defaults.logBytes)}; instances' addresses are kept in ${defaults.addressBook}.
`;
}
