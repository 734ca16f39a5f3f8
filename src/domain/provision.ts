import {
  type BindAddress,
  type Configuration,
  type EdgeFiles,
  type IncusEdgeHost,
  profilesOf,
} from './configuration.js';
import { defaults } from './defaults.js';
import type { StepReport } from './edge-change.js';
import { inFull } from './incus-place.js';
import type { Outcome } from './operation.js';

/** What Incus's own keys say of what Bascule made: only that is ever changed. */
export const markOfProject = 'user.bascule.project';
export const markOfEdge = 'user.bascule.edge';

/** In the order in which they are taken. */
export const provisionSteps = [
  'project',
  'storage',
  'network',
  'profile',
  'instance',
  'packages',
  'folders',
  'service',
  'instances',
  'configuration',
  'ports',
] as const;

export type ProvisionStepId = (typeof provisionSteps)[number];
/** Those that are acts on Incus; the other one is a change of the edge. */
export type ProvisionActId = Exclude<ProvisionStepId, 'configuration'>;

export interface ProvisionRequest {
  /** Only say what would be done. */
  readonly dryRun?: boolean;
}

/** What there is to be, out of bascule.yaml. */
export interface ProvisionWanted {
  readonly project: string;
  readonly edge: string;
  readonly place: IncusEdgeHost;
  readonly image: string;
  readonly storage: string;
  readonly network: string;
  /** Of the bridge, where it is made; one that Incus finds free where it is null. */
  readonly subnet: string | null;
  /** Of the names that the bridge's name server gives; Incus's own where it is null. */
  readonly domain: string | null;
  readonly profile: string;
  readonly packages: readonly string[];
  readonly unattendedUpgrades: boolean;
  readonly folders: readonly string[];
  readonly files: EdgeFiles;
  readonly forwards: readonly Forward[];
  /** Null where a deploy makes them, each for its color, or somebody else does. */
  readonly sideBySide: SideBySide | null;
}

/** Instances that stand side by side: the edge finds them before anything is deployed to them. */
interface SideBySide {
  readonly image: string;
  readonly instances: readonly { readonly name: string; readonly profiles: readonly string[] }[];
}

/** A port of the machine that leads to the edge. */
export interface Forward {
  /** Of Incus's device. */
  readonly device: string;
  readonly listen: BindAddress;
  readonly connect: BindAddress;
  /** Whether the system rewrites packets, so that the edge sees who asks; else a program passes them on. */
  readonly nat: boolean;
}

/** What there is. */
export interface ProvisionFound {
  /** Null where it is Incus's default project, which is always there. */
  readonly incusProject: { readonly isThere: boolean } | null;
  readonly storage: { readonly isThere: boolean };
  readonly network: (Owned & { readonly isManaged: boolean; readonly domain: string | null }) | null;
  readonly profile: (Owned & { readonly pool: string | null; readonly network: string | null }) | null;
  readonly instance: (Owned & FoundInstance) | null;
  /** Null where it does not run. */
  readonly inside: FoundInside | null;
  /** Those of `sideBySide`, by name. */
  readonly sideBySide: Readonly<Record<string, FoundSideBySide>>;
}

/** One that somebody else made, and to which nothing is deployed, stays as it is. */
export type FoundSideBySide = 'none' | 'stopped' | 'running' | 'of somebody else';

/** Project of Bascule's that made it, null where that was somebody else. */
interface Owned {
  readonly owner: string | null;
}

export interface FoundInstance {
  readonly isRunning: boolean;
  /** Those of its own, without those of its profiles. */
  readonly devices: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly startsByItself: boolean;
}

export interface FoundInside {
  /** As `systemctl is-system-running` says it; `none` where the image has no systemd, null where that is not up yet. */
  readonly system: string | null;
  readonly packages: readonly string[];
  readonly folders: readonly string[];
  readonly upgrades: string;
  readonly dropIn: string;
  readonly isServiceEnabled: boolean;
  readonly isServiceActive: boolean;
  /** Of `files.config`. */
  readonly configuration: 'none' | 'of the distribution' | 'of Bascule' | 'of somebody else';
}

/** One step, and whether there is something to do in it. */
export interface ProvisionStep {
  readonly id: ProvisionStepId;
  /** What it is about, such as `network bascule0`. */
  readonly name: string;
  /** unknown: it can be looked at once the steps before it are done. */
  readonly state: 'right' | 'to do' | 'unknown';
  /** What is to be done, or what is there. */
  readonly does: string;
}

/** What is in the way: somebody else's, and not as it has to be. */
export interface ProvisionObstacle {
  readonly what: 'instance' | 'network' | 'profile';
  readonly name: string;
  /** How it differs, for a person. */
  readonly differs: string;
  /** The command that changes it, or hands it over. */
  readonly mend: string;
  /** The key of bascule.yaml that names another one. */
  readonly key: string;
}

export interface ProvisionPlan {
  readonly steps: readonly ProvisionStep[];
  readonly obstacle: ProvisionObstacle | null;
}

/** What the workflow goes by. */
export interface PlannedProvision {
  readonly steps: readonly ProvisionStep[];
  /** Where visitors come in, for a person. */
  readonly entrances: readonly string[];
}

/** What became of a step: what it did, null where there was nothing to do any more. */
export interface ProvisionDone {
  readonly did: string | null;
}

/** How `bascule provision` ended. Others build on this shape: fields are added, never renamed. */
export interface ProvisionResult {
  readonly schemaVersion: 1;
  readonly operation: string;
  readonly environment: null;
  readonly kind: 'provision';
  readonly outcome: Outcome;
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string | null;
  /** Whether anything was changed, or would be. */
  readonly changed: boolean;
  readonly dryRun: boolean;
  readonly generation: number | null;
  readonly startedAt: string;
  readonly durationMs: number;
  /** As they were found. */
  readonly plan: readonly ProvisionStep[];
  readonly steps: readonly StepReport[];
}

/** What there is to be; null where the edge is on the worker's own machine. */
export function provisionWanted(configuration: Configuration): ProvisionWanted | null {
  const { project, edge, instances, provision = {} } = configuration;
  const { host, files } = edge;
  if (host.driver !== 'incus') return null;
  const usual = defaults.provision;
  const isIncus = instances.driver === 'incus';
  const socketFolders = [files.socket, files.masterSocket].map(folderOf);
  return {
    project,
    edge: edge.name,
    place: host,
    image: provision.image ?? (isIncus ? instances.image : usual.image),
    storage: provision.storage ?? usual.storage,
    network: provision.network ?? usual.network,
    subnet: provision.subnet ?? null,
    domain: isIncus ? (instances.domain ?? null) : null,
    profile: provision.profile ?? usual.profile,
    packages: [
      'haproxy',
      ...(provision.packages ?? []),
      ...(provision.unattendedUpgrades ? ['unattended-upgrades'] : []),
    ],
    unattendedUpgrades: provision.unattendedUpgrades ?? false,
    folders: [
      ...new Set([folderOf(files.config), files.state, ...(edge.https ? [files.certificates] : []), ...socketFolders]),
    ],
    files,
    forwards: forwardsOf(configuration, provision.listen ?? usual.listen),
    sideBySide: sideBySideOf(configuration),
  };
}

/** Without names or addresses of theirs the edge does not know them: it goes by those of `fallback`. */
function sideBySideOf({ topology, components, instances }: Configuration): SideBySide | null {
  if (topology !== 'multi-instance' || instances.driver !== 'incus') return null;
  const { image, domain, addresses } = instances;
  if (domain === undefined && addresses === undefined) return null;
  const wanted = components.flatMap((component) =>
    (component.instances ?? []).map((name) => ({ name, profiles: profilesOf(instances, component) })),
  );
  return wanted.length === 0 ? null : { image, instances: wanted };
}

function forwardsOf({ edge }: Configuration, listen: string): readonly Forward[] {
  const nat = listen !== '*' && !isLoopback(listen);
  const binds = [
    { device: 'bascule-http', bind: edge.http },
    ...(edge.https ? [{ device: 'bascule-https', bind: edge.https }] : []),
  ];
  return binds
    .filter(({ bind }) => nat || bind.address === '*' || isLoopback(bind.address))
    .map(({ device, bind }) => ({
      device,
      listen: { address: listen === '*' ? '0.0.0.0' : listen, port: bind.port },
      connect: { address: nat ? '0.0.0.0' : bind.address === '*' ? '127.0.0.1' : bind.address, port: bind.port },
      nat,
    }));
}

const isLoopback = (address: string): boolean => address.startsWith('127.');
const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

/** The steps from what there is to what there is to be; those of somebody else's are never among them. */
export function planProvision(wanted: ProvisionWanted, found: ProvisionFound): ProvisionPlan {
  return {
    obstacle: obstacleOf(wanted, found),
    steps: [
      ...incusProject(wanted, found),
      step('storage', `storage pool ${wanted.storage}`, found.storage.isThere ? [] : ['make it, as a folder']),
      step('network', `network ${wanted.network}`, networkToDo(wanted, found)),
      step('profile', `profile ${wanted.profile}`, profileToDo(wanted, found)),
      step('instance', `instance ${wanted.place.instance}`, instanceToDo(wanted, found)),
      inside('packages', 'packages', wanted, found, packagesToDo),
      inside('folders', 'folders of the edge', wanted, found, foldersToDo),
      inside('service', "HAProxy's service", wanted, found, serviceToDo),
      ...sideBySide(wanted, found),
      inside('configuration', 'first configuration', wanted, found, (_, { configuration }) =>
        configuration === 'of Bascule' ? [] : ['put bascule.yaml in force'],
      ),
      ...(wanted.forwards.length > 0 ? [step('ports', portsOf(wanted), forwardsToDo(wanted, found))] : []),
    ],
  };
}

function step(id: ProvisionStepId, name: string, toDo: readonly string[]): ProvisionStep {
  return toDo.length === 0
    ? { id, name, state: 'right', does: 'as it has to be' }
    : { id, name, state: 'to do', does: toDo.join(', ') };
}

/** A step within the instance, which may be there and not run. */
function inside(
  id: ProvisionStepId,
  name: string,
  wanted: ProvisionWanted,
  found: ProvisionFound,
  toDo: (wanted: ProvisionWanted, inside: FoundInside) => readonly string[],
): ProvisionStep {
  if (found.inside === null && found.instance !== null) {
    return { id, name, state: 'unknown', does: 'seen once the instance runs' };
  }
  return step(id, name, toDo(wanted, found.inside ?? nothingInside));
}

const nothingInside: FoundInside = {
  system: null,
  packages: [],
  folders: [],
  upgrades: '',
  dropIn: '',
  isServiceEnabled: false,
  isServiceActive: false,
  configuration: 'none',
};

function incusProject({ place }: ProvisionWanted, { incusProject: found }: ProvisionFound): readonly ProvisionStep[] {
  if (found === null) return [];
  return [step('project', `Incus's project ${inFull(place).project}`, found.isThere ? [] : ['make it'])];
}

function networkToDo({ domain, subnet }: ProvisionWanted, { network }: ProvisionFound): readonly string[] {
  const at = subnet === null ? '' : ` at ${subnet}`;
  const named = domain === null ? '' : ` of names in .${domain}`;
  if (network === null) return [`make a bridge${at}${named}`];
  return isDomainRight(domain, network) ? [] : [`set its domain to ${domain}`];
}

const isDomainRight = (wanted: string | null, network: { readonly domain: string | null }): boolean =>
  wanted === null || network.domain === wanted;

function profileToDo({ storage, network }: ProvisionWanted, { profile }: ProvisionFound): readonly string[] {
  if (profile === null) return [`make it, with a disk of ${storage} and eth0 on ${network}`];
  return [
    ...(profile.pool === null ? [`give it a disk of ${storage}`] : []),
    ...(profile.network === network ? [] : [`put its eth0 on ${network}`]),
  ];
}

function instanceToDo({ image, profile }: ProvisionWanted, { instance }: ProvisionFound): readonly string[] {
  if (instance === null) return [`launch it from ${image} with profile ${profile}`];
  return [
    ...(instance.startsByItself ? [] : ['have it start with the machine']),
    ...(instance.isRunning ? [] : ['start it']),
  ];
}

function packagesToDo(wanted: ProvisionWanted, { packages, upgrades }: FoundInside): readonly string[] {
  const missing = missingPackages(wanted, packages);
  return [
    ...(missing.length > 0 ? [`install ${missing.join(', ')}`] : []),
    ...(upgrades === wantedUpgrades(wanted)
      ? []
      : [wanted.unattendedUpgrades ? 'have upgrades made by themselves' : 'have no upgrades made by themselves']),
  ];
}

export const missingPackages = ({ packages }: ProvisionWanted, installed: readonly string[]): readonly string[] =>
  packages.filter((each) => !installed.includes(each));

/** Content of apt's file about upgrades, none where Bascule says nothing about them. */
export const wantedUpgrades = ({ unattendedUpgrades }: ProvisionWanted): string =>
  unattendedUpgrades
    ? '// Written by bascule provision.\nAPT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
    : '';

const foldersToDo = ({ folders }: ProvisionWanted, inside: FoundInside): readonly string[] =>
  folders.filter((folder) => !inside.folders.includes(folder)).map((folder) => `make ${folder}`);

function serviceToDo(wanted: ProvisionWanted, inside: FoundInside): readonly string[] {
  const { config } = wanted.files;
  return [
    ...(inside.dropIn === wantedDropIn(wanted) ? [] : [`have it run ${config}`]),
    ...(inside.isServiceEnabled ? [] : ['have it start with the instance']),
    ...(inside.isServiceActive ? [] : ['start it']),
  ];
}

/** What Debian's unit runs by itself. */
const ofDebian = { config: '/etc/haproxy/haproxy.cfg', masterSocket: '/run/haproxy-master.sock' } as const;
/** Made by the package, also after the instance's start. */
const folderOfDebian = '/run/haproxy';

/** What Debian's unit of HAProxy is told where the edge's files are elsewhere; nothing where they are where it looks. */
export function wantedDropIn({ files: { config, masterSocket, socket } }: ProvisionWanted): string {
  const isElsewhere = config !== ofDebian.config || masterSocket !== ofDebian.masterSocket;
  const folders = [socket, masterSocket].map(folderOf).filter((folder) => ![folderOfDebian, '/run'].includes(folder));
  const lines = [
    ...(isElsewhere ? [`Environment="CONFIG=${config}" "EXTRAOPTS=-S ${masterSocket}"`] : []),
    ...[...new Set(folders)].map((folder) => `ExecStartPre=/bin/mkdir -p ${folder}`),
  ];
  return lines.length === 0 ? '' : ['# Written by bascule provision.', '[Service]', ...lines, ''].join('\n');
}

function sideBySide({ sideBySide: wanted }: ProvisionWanted, found: ProvisionFound): readonly ProvisionStep[] {
  if (wanted === null) return [];
  const { image, instances } = wanted;
  const those = (state: FoundSideBySide) =>
    instances.filter(({ name }) => (found.sideBySide[name] ?? 'none') === state);
  const [missing, stopped] = [those('none'), those('stopped')];
  const sorts = new Set(missing.map(({ profiles }) => withProfiles(profiles)));
  return [
    step('instances', `instances ${namesOf(instances)}`, [
      ...[...sorts].map((sort) => {
        const alike = missing.filter(({ profiles }) => withProfiles(profiles) === sort);
        return `launch ${namesOf(alike)} from ${image} ${sort}`;
      }),
      ...(stopped.length > 0 ? [`start ${namesOf(stopped)}`] : []),
    ]),
  ];
}

const withProfiles = (profiles: readonly string[]): string =>
  `with ${profiles.length === 1 ? 'profile' : 'profiles'} ${profiles.join(', ')}`;
const namesOf = (instances: readonly { readonly name: string }[]): string =>
  instances.map(({ name }) => name).join(', ');

const portsOf = ({ forwards }: ProvisionWanted): string =>
  `ports of the machine: ${forwards.map(({ listen }) => listen.port).join(', ')}`;

function forwardsToDo({ forwards }: ProvisionWanted, { instance }: ProvisionFound): readonly string[] {
  return forwards
    .filter((forward) => !isForwarded(forward, instance?.devices ?? {}))
    .map(({ listen, connect }) => `lead ${listen.address}:${listen.port} to its port ${connect.port}`);
}

/** Incus's device for it. */
export const deviceOf = ({ listen, connect, nat }: Forward): Readonly<Record<string, string>> => ({
  type: 'proxy',
  listen: `tcp:${listen.address}:${listen.port}`,
  connect: `tcp:${connect.address}:${connect.port}`,
  ...(nat ? { nat: 'true' } : {}),
});

export function isForwarded(forward: Forward, devices: FoundInstance['devices']): boolean {
  const found = devices[forward.device] ?? {};
  const wanted = deviceOf(forward);
  const names = new Set([...Object.keys(found), ...Object.keys(wanted)]);
  return [...names].every((name) => found[name] === wanted[name]);
}

function obstacleOf(wanted: ProvisionWanted, found: ProvisionFound): ProvisionObstacle | null {
  return foreignNetwork(wanted, found) ?? foreignProfile(wanted, found) ?? foreignInstance(wanted, found);
}

function foreignNetwork(wanted: ProvisionWanted, { network }: ProvisionFound): ProvisionObstacle | null {
  const { network: name, domain, project } = wanted;
  if (network === null) return null;
  const common = { what: 'network', name, key: 'provision.network' } as const;
  if (!network.isManaged) {
    const mend = `ip link show ${name}`;
    return { ...common, differs: 'Incus gives out no addresses and no names on it', mend };
  }
  if (network.owner === project || isDomainRight(domain, network)) return null;
  return {
    ...common,
    differs: `its dns.domain is ${network.domain ?? "Incus's own"}, and instances.domain is ${domain}`,
    mend: `incus network set ${remoteOf(wanted)}${name} dns.domain=${domain}`,
  };
}

function foreignProfile(wanted: ProvisionWanted, { profile }: ProvisionFound): ProvisionObstacle | null {
  const { profile: name, storage, network, project } = wanted;
  if (profile === null || profile.owner === project) return null;
  const common = { what: 'profile', name, key: 'provision.profile' } as const;
  const add = `incus profile device add ${remoteOf(wanted)}${name}`;
  if (profile.pool === null) {
    return {
      ...common,
      differs: 'it has no root disk',
      mend: `${add} root disk path=/ pool=${storage}${inProject(wanted)}`,
    };
  }
  if (profile.network === network) return null;
  const isElsewhere = profile.network !== null;
  return {
    ...common,
    differs: isElsewhere ? `its eth0 is on ${profile.network}, not on ${network}` : 'it has no eth0',
    mend: isElsewhere
      ? `incus profile device set ${remoteOf(wanted)}${name} eth0 network=${network}${inProject(wanted)}`
      : `${add} eth0 nic network=${network} name=eth0${inProject(wanted)}`,
  };
}

function foreignInstance(wanted: ProvisionWanted, { instance }: ProvisionFound): ProvisionObstacle | null {
  const { place, project } = wanted;
  if (instance === null || instance.owner === project) return null;
  const mark = `${markOfProject}=${project}`;
  return {
    what: 'instance',
    name: place.instance,
    differs: instance.owner === null ? `it has no ${mark}` : `it is of Bascule's project ${instance.owner}`,
    mend: `incus config set ${remoteOf(wanted)}${place.instance} ${mark}${inProject(wanted)}`,
    key: 'edge.host.instance',
  };
}

const remoteOf = ({ place }: ProvisionWanted): string => (place.remote === undefined ? '' : `${place.remote}:`);
const inProject = ({ place }: ProvisionWanted): string =>
  place.project === undefined ? '' : ` --project ${place.project}`;
