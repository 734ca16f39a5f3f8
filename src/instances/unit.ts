import { firstFreePort } from '../domain/addresses.js';
import { serviceSandbox } from '../domain/systemd.js';

/** What systemd runs in an instance, for whom. */
export interface Service {
  readonly project: string;
  readonly component: string;
  readonly user: string;
  readonly port: number;
  readonly run: readonly string[];
}

/** Where a component's releases are, in its instance; templates/instance-incus.sh knows it for itself. */
export const releasesFolder = ({ project, component }: Pick<Service, 'project' | 'component'>): string =>
  `/opt/${project}/${component}`;

/** The names of the service and of its migration. */
export const serviceName = ({ project, component }: Pick<Service, 'project' | 'component'>): string =>
  `${project}-${component}.service`;
export const migrationName = ({ project, component }: Pick<Service, 'project' | 'component'>): string =>
  `${project}-${component}-migrate.service`;

/** Where its program has a folder of its own that it may write to, beside the log's. */
export const homeFolder = ({ project, component }: Pick<Service, 'project' | 'component'>): string =>
  `/var/lib/${project}/${component}`;

/**
 * Where it keeps what outlives its releases (`BASCULE_DATA`): a volume of Incus that both colors have. It lies in the folder
 * above, which systemd gives to the program's user with all that is in it.
 */
export const sharedFolder = (service: Pick<Service, 'project' | 'component'>): string => `${homeFolder(service)}/data`;

/** Unit file of a component's service. */
export function serviceUnit(service: Service & { readonly stopGraceMs: number }): string {
  const { project, component, stopGraceMs } = service;
  return `# Written by Bascule at each start.
[Unit]
Description=${component} of ${project}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
Restart=always
RestartSec=1
TimeoutStopSec=${stopGraceMs}ms
${sandbox(service)}
[Install]
WantedBy=multi-user.target
`;
}

/** Unit file of its migration, which runs as the service does. */
export function migrationUnit(service: Service & { readonly timeoutMs: number }): string {
  const { project, component, timeoutMs } = service;
  return `# Written by Bascule at each migration.
[Unit]
Description=migration of ${component} of ${project}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=${timeoutMs}ms
${sandbox(service)}`;
}

/** What it may do: read its release, write its log and its own folder, and use the network. */
function sandbox({ project, component, user, port, run }: Service): string {
  const capabilities = port < firstFreePort ? 'CAP_NET_BIND_SERVICE' : '';
  return `User=${user}
Group=${user}
WorkingDirectory=${releasesFolder({ project, component })}/current
EnvironmentFile=/etc/${project}/${component}.env
ExecStart=${commandLine(run, `${releasesFolder({ project, component })}/current`)}
LogsDirectory=${project}
LogsDirectoryMode=0750
StateDirectory=${project}/${component}
StateDirectoryMode=0750
UMask=0027
CapabilityBoundingSet=${capabilities}
AmbientCapabilities=${capabilities}
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
PrivateTmp=yes
RemoveIPC=yes
${serviceSandbox}SystemCallFilter=~@privileged @resources
`;
}

/** systemd takes no program by a path that is relative: one is a file of the release. */
function commandLine([program = '', ...args]: readonly string[], folder: string): string {
  const path =
    program.includes('/') && !program.startsWith('/') ? `${folder}/${program.replace(/^\.\//, '')}` : program;
  return [path, ...args].map(quoted).join(' ');
}

/** One word of ExecStart=, in which `%` and `$` mean themselves (systemd.service(5), "Command lines"). */
const quoted = (word: string): string =>
  `"${word
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('\n', '\\n')
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$')}"`;

/** Variables as lines of an EnvironmentFile=, which a shell reads as well (systemd.exec(5)). */
export function environmentFile(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}="${value.replaceAll(/["\\`$]/g, '\\$&')}"\n`)
    .join('');
}
