import { dirname, join } from 'node:path';
import { serviceSandbox } from '../domain/systemd.js';
import { temporalServerArguments } from '../temporal-server.js';

export interface UnitPlace {
  readonly project: string;
  /** Absolute path of bascule.yaml. */
  readonly configurationFile: string;
  /** Whether the edge listens on a port that only root may take. */
  readonly needsLowPorts: boolean;
  readonly user: string;
  /** Absolute paths of the folders that the worker, HAProxy and the releases write to. */
  readonly writes: readonly string[];
  /** How long Temporal keeps an operation after its end. */
  readonly retentionMs: number;
  /** Absolute paths of Node.js, of the command and of Temporal's CLI. */
  readonly node: string;
  readonly program: string;
  readonly temporal: string;
}

export interface Unit {
  readonly name: string;
  readonly text: string;
}

const temporalPort = 7_233;
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Units for Temporal's single binary on 127.0.0.1 and for the worker, the worker's last. */
export function systemdUnits(place: UnitPlace): readonly Unit[] {
  const temporal = { name: `bascule-${place.project}-temporal.service`, text: temporalUnit(place) };
  return [temporal, { name: `bascule-${place.project}-worker.service`, text: workerUnit(place, temporal.name) }];
}

function temporalUnit({ project, temporal, retentionMs }: UnitPlace): string {
  const state = `bascule-${project}`;
  const home = `/var/lib/${state}`;
  const dbFile = `${home}/temporal.db`;
  const answers = [temporal, 'operator', 'cluster', 'health', '--address', `127.0.0.1:${temporalPort}`] as const;
  const place = ['--namespace', 'default', '--address', `127.0.0.1:${temporalPort}`] as const;
  const retention = [
    temporal,
    'operator',
    'namespace',
    'update',
    ...place,
    '--retention',
    `${retentionMs / 3_600_000}h`,
  ] as const;
  const args = temporalServerArguments({ port: temporalPort, ui: null, dbFile });
  return `[Unit]
Description=Temporal for Bascule's project ${project}
Documentation=https://docs.temporal.io/cli/server
After=network.target

[Service]
ExecStart=${command([temporal, ...args])}
# Started is what answers: the worker, and who types the next command, find it there.
ExecStartPost=${command(['/bin/sh', '-c', 'until "$@" >/dev/null 2>&1; do sleep 0.2; done', 'answers', ...answers])}
# How long it keeps an operation after its end; its own default is a day.
ExecStartPost=${command(retention)}
TimeoutStartSec=60
Restart=always
RestartSec=2
# Temporal does not start without it, and not every systemd sets it.
Environment=HOME=${home}
DynamicUser=yes
StateDirectory=${state}
StateDirectoryMode=0700
UMask=0077
# Only its own folder can be written. Its program may lie in somebody's home, which it can read.
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
# It answers on this machine alone: see docs/security.md before you open it.
IPAddressDeny=any
IPAddressAllow=localhost
CapabilityBoundingSet=
${serviceSandbox}ProcSubset=pid
ProtectProc=invisible
PrivateUsers=yes
RemoveIPC=yes
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
`;
}

function workerUnit(place: UnitPlace, temporalUnitName: string): string {
  const { project, configurationFile, needsLowPorts, user, node, program } = place;
  const capabilities = needsLowPorts ? 'CAP_NET_BIND_SERVICE' : '';
  return `[Unit]
Description=Bascule's worker of project ${project}
After=network-online.target ${temporalUnitName}
Wants=network-online.target ${temporalUnitName}

[Service]
ExecStart=${command([program, 'worker', '--config', configurationFile])}
WorkingDirectory=${specifierFree(dirname(configurationFile))}
User=${user}
Environment=TEMPORAL_ADDRESS=127.0.0.1:${temporalPort}
Environment=${quoted(`PATH=${dirname(node)}:${systemPath}`)}
# Secrets that bascule.yaml names as { env: NAME }, a line NAME=value each; readable by root alone.
EnvironmentFile=-/etc/bascule/${project}.env
# HAProxy and the instances go on when the worker is stopped or started again.
KillMode=process
Restart=always
RestartSec=2
TimeoutStopSec=30
UMask=0077
# What follows holds for HAProxy and the releases too: the worker starts them. \`systemctl edit\` changes a line for a
# program that needs more.
CapabilityBoundingSet=${capabilities}
AmbientCapabilities=${capabilities}
ProtectSystem=full
${writable(place)}${serviceSandbox}# Left open, each with its reason:
# - PrivateTmp=: HAProxy and the releases outlive the worker, and a /tmp of its own would be removed under them.
# - ProtectSystem=strict: a release may keep its data where its user may write.
# - ProtectProc=, ProcSubset=: the worker says whose process has a port or a file, and compares boot ids.
# - PrivateUsers=, RemoveIPC=: files and shared memory of the user belong to HAProxy and the releases as well.
# - MemoryDenyWriteExecute=: Node.js, Java and .NET compile while they run.
# - PrivateNetwork=, IPAddressDeny=: it is a web server, and fetches artifacts.
# - SystemCallFilter=~@resources: a release may set its own limits and priority.
# - RootDirectory=, SupplementaryGroups=, Delegate=: not used.

[Install]
WantedBy=multi-user.target
`;
}

const homes = ['/home', '/root', '/run/user'];
/** What ProtectSystem=full has read-only. */
const systemFolders = ['/boot', '/efi', '/etc', '/usr'];

/** Homes can be read, and written only where the project lies in one; so can those folders of the system. */
function writable({ writes }: UnitPlace): string {
  const isIn = (folders: readonly string[]) => (path: string) =>
    folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
  const inSystem = writes.filter(isIn(systemFolders)).map((path) => `ReadWritePaths=${quoted(`-${path}`)}\n`);
  const protectsHome = !writes.some(isIn(homes));
  const home = protectsHome ? 'ProtectHome=read-only\n' : '# ProtectHome= is open: the project lies in a home.\n';
  return [home, ...inSystem].join('');
}

/** An argv as systemd.service(5) reads it: `%`, `$`, quotes and backslashes stand for themselves. */
const command = ([program, ...args]: readonly [string, ...string[]]): string =>
  // The program alone is not looked through for variables.
  [quoted(program), ...args.map((word) => quoted(word.replaceAll('$', '$$$$')))].join(' ');

const quoted = (word: string): string =>
  /^[A-Za-z0-9._/=:@,+-]+$/.test(word) ? word : `"${specifierFree(word).replaceAll(/["\\]/g, '\\$&')}"`;

const specifierFree = (text: string): string => text.replaceAll('%', '%%');

/** What has to be typed, as root, for units that lie in `folder`. */
export function installCommands(folder: string, units: readonly Unit[]): readonly string[] {
  const names = units.map(({ name }) => name);
  return [
    `cp ${names.map((name) => join(folder, name)).join(' ')} /etc/systemd/system/`,
    'systemctl daemon-reload',
    `systemctl enable --now ${names.join(' ')}`,
  ];
}
