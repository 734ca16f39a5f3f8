/**
 * The one error class, its codes and all its prose. A code's entry takes what the error is about and answers what
 * happened, to what (`message`) and what to type or mend next (`remedy`).
 */

interface Prose {
  readonly message: string;
  readonly remedy: string;
}

/** The last lines of a log, below what is said about it. */
const lastLines = (lines: readonly string[]): string =>
  lines.length === 0 ? '; its log is empty' : `. Its last log lines:\n${lines.join('\n')}`;

const isForbidden = (reason: string): boolean => /EACCES|EPERM/.test(reason);

interface IncusInstance {
  readonly instance: string;
  readonly project: string;
  readonly remote: string;
}

const incusInstance = ({ instance, project, remote }: IncusInstance): string =>
  `instance ${instance} (project ${project} of Incus's remote ${remote})`;

/** Two digits, so that a small disk does not seem to have none. */
const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(2);

interface InstanceName {
  readonly instance: string;
  readonly environment: string;
  readonly component: string;
  /** Null in multi-instance. */
  readonly color: string | null;
}

const percent = (share: number): string => `${Number((share * 100).toFixed(1))} %`;

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`);

function failedShare(a: { measure: string; requests: number; errors: number; connectionErrors: number }): string {
  const { requests, errors, connectionErrors } = a;
  if (a.measure === 'errors') {
    return `${errors} of ${requests} answers of the new release were 5xx in its soak, ${percent(errors / requests)}`;
  }
  const attempts = requests + connectionErrors;
  return `${connectionErrors} of ${attempts} connections to the new release failed in its soak, ${percent(connectionErrors / attempts)}`;
}

/** The command that shows an instance's log. */
const logsOf = ({ environment, component, color, instance }: InstanceName): string =>
  `\`bascule logs ${environment} ${component} ${color === null ? `--instance ${instance}` : `--color ${color}`}\``;

/** A full disk lets no operation begin, so that the first room has to be made by hand. */
const whatMayGo =
  'Its artifacts may be removed by hand (`rm -r`): they are fetched again. `bascule cleanup ENV` removes releases that are not used, as soon as there is some room.';

/** A full disk, else whatever keeps a file from being written. The file itself may not be there. */
function writableRemedy({ file, reason }: { file: string; reason: string }): string {
  const folder = file.replace(/\/[^/]+$/, '');
  if (/ENOSPC|EDQUOT|No space left|quota exceeded/i.test(reason)) {
    return `Make room where it lies (\`df -h ${folder}\`): \`bascule doctor\` shows what takes how much. ${whatMayGo} Then try again.`;
  }
  if (isReadOnly(reason)) return readOnlyRemedy(folder);
  if (/EEXIST|ENOTDIR|Not a directory|File exists/.test(reason)) {
    return `A file lies where a folder belongs: \`ls -ld ${folder}\` shows it, \`mv ${folder} ${folder}.away\` moves it away. Then try again.`;
  }
  return `See who may write there (\`ls -ld ${folder}\`), then try again.`;
}

const untrustedRemedy = {
  unknown:
    'Where an authority of your own signed it, name the PEM file of its root as `artifacts.caFile` in bascule.yaml. Where a proxy did that looks into the connection, its root.',
  expired: 'Renew that certificate, or set the clock of the worker right, then deploy again.',
  'other name': 'Ask it by a name that its certificate has: see `artifacts.url` in bascule.yaml.',
} as const;

const tokenSent = ({ token, elsewhere }: { token: string | null; elsewhere: string | null }): string => {
  if (token === null) return 'and bascule.yaml names no token';
  return elsewhere === null ? `to the token from ${token}` : `at ${elsewhere}, to which the token is not sent`;
};

const isReadOnly = (reason: string): boolean => /EROFS|Read-only file system/.test(reason);

const readOnlyRemedy = (folder: string): string =>
  `\`findmnt -T ${folder}\` shows that file system and \`dmesg\` why it is read-only; \`mount -o remount,rw\` it, then try again.`;

const hangingRemedy = (folder: string): string =>
  `See whether the disk answers (\`timeout 5 sync ${folder}\`), what \`dmesg\` says of it, and what keeps that machine busy (\`ps -eo pid,stat,wchan,args | grep ' D'\`), then try again.`;

/** A reload does not make a socket anew, and does not move one. */
function silentRemedy(a: { pid: number; reason: string; manage: boolean; movedFrom: string | null }): string {
  if (isForbidden(a.reason)) return 'Run the worker as the user who runs HAProxy.';
  const restart = a.manage
    ? `\`kill ${a.pid}\`, and the worker starts it again within a second`
    : 'restart HAProxy, with systemd: `systemctl restart haproxy`';
  return a.movedFrom === null
    ? `Its socket is lost until it is started anew: ${restart}. Visitors get no answer meanwhile.`
    : `Put \`edge.files.socket\` back to ${a.movedFrom} in bascule.yaml: that is where it listens.`;
}

const newKeyRemedy =
  'It has `<id>:<key>`, the key being 32 bytes in base64, such as of `echo "2026a:$(openssl rand -base64 32)"`; behind a comma older ones, which only decrypt.';

const otherVersionRemedy =
  'Where a `bascule` command asked for it, that command and the worker are of different versions: compare `bascule --version` with what `bascule status` says, and install the newer one in both places.';

/** When somebody else wants to be asked again; null where he did not say. */
export interface RetryAfter {
  /** From when the error was made. */
  readonly retryAfterMs: number | null;
  /** RFC 3339, in his own words where he named a date. */
  readonly retryAt?: string | null;
}

/** What may be mended where an authority refuses for good (RFC 8555, 6.7). */
function refusalRemedy(type: string): string {
  const remedies: Readonly<Record<string, string>> = {
    caa: 'A CAA record in DNS has to allow this authority.',
    invalidContact: 'See `certificates.email` in bascule.yaml.',
    unsupportedContact: 'See `certificates.email` in bascule.yaml.',
    invalidProfile: 'See `certificates.profile` in bascule.yaml.',
    rejectedIdentifier: 'See `certificates.domains` in bascule.yaml: it gives no certificate for such a name.',
    unsupportedIdentifier: 'See `certificates.domains` in bascule.yaml: it gives no certificate for such a name.',
    externalAccountRequired: 'Name the id and the key that it gave you as `certificates.eab`.',
    accountDoesNotExist: '`bascule certs issue` registers the account anew.',
    userActionRequired: 'It has new terms: read them where it says, then try again.',
  };
  return remedies[type] ?? 'Mend what it says, then try again.';
}

/** A program that listens where another one is to: `program` null where this user may not see whose it is. */
interface ListeningProgram {
  readonly address: string;
  readonly isEveryAddress: boolean;
  readonly program: { readonly pid: number; readonly name: string } | null;
  /** Set where it is a release that Bascule runs. */
  readonly release: { readonly instance: string; readonly sha: string } | null;
}

/** Who has an address: process, program and release, and that it has every address. */
function takenBy(listeners: readonly ListeningProgram[]): string {
  if (listeners.length === 0) return 'another process';
  const described = listeners.map(({ address, isEveryAddress, program, release }) => {
    const who = program === null ? 'a process that this user may not see' : `process ${program.pid} (${program.name})`;
    const whose = release === null ? '' : `, release ${release.sha} in ${release.instance}`;
    return `${who}${whose}${isEveryAddress ? `, which listens on every address (${address})` : ''}`;
  });
  return [...new Set(described)].join(', and by ');
}

/** How whoever has an address gives it free. */
function freeRemedy(port: number, listeners: readonly ListeningProgram[], otherwise: string): string {
  const programs = listeners.flatMap(({ program }) => (program === null ? [] : [program]));
  const pids = [...new Set(programs.map(({ pid }) => pid))];
  const [ours] = listeners.flatMap(({ release }) => (release === null ? [] : [release]));
  if (ours && listeners.some(({ isEveryAddress }) => isEveryAddress)) {
    return `Have the program of ${ours.instance} listen on $HOST:$PORT alone, and deploy that. To have it end now: \`kill ${pids.join(' ')}\`.`;
  }
  const end =
    pids.length === 0
      ? `End that process (as root \`ss -ltnp 'sport = :${port}'\` names it)`
      : `End that process (\`kill ${pids.join(' ')}\`)`;
  return `${end}, or ${otherwise}.`;
}

const prose = {
  'config-invalid': (a: { file: string; problems: readonly string[] }): Prose => ({
    message: `${a.file} has ${a.problems.length === 1 ? 'an error' : `${a.problems.length} errors`}:\n${a.problems.join('\n')}`,
    remedy: 'Mend the file; `bascule validate` checks it.',
  }),
  'config-not-found': (a: { file: string }): Prose => ({
    message: `${a.file} does not exist`,
    remedy: 'Run `bascule init` to write one, or name yours with --config FILE.',
  }),
  'address-book-damaged': (a: { file: string; reason: string }): Prose => ({
    message: `${a.file}, which holds the address of each instance, is damaged: ${a.reason}`,
    remedy: `Put it back from a back-up. Without one \`rm ${a.file}\`: addresses are given out anew, and \`bascule apply --dry-run\` shows which would change.`,
  }),
  'command-not-found': (a: { host: string; program: string }): Prose => ({
    message: `${a.program} is not installed on ${a.host}`,
    remedy: `Install ${a.program} there, so that it is found in PATH.`,
  }),
  'command-timed-out': (a: { host: string; program: string; timeoutMs: number }): Prose => ({
    message: `${a.program} on ${a.host} did not end within ${a.timeoutMs / 1_000} s and was stopped`,
    remedy: 'See what keeps that machine busy, then try again.',
  }),
  'command-ended': (a: { host: string; program: string; how: string }): Prose => ({
    message: `${a.program} on ${a.host} was ended: ${a.how}`,
    remedy: 'See what ended it, then try again.',
  }),
  'incus-remote-unknown': (a: { remote: string; file: string }): Prose => ({
    message: `Incus's own client knows no remote ${a.remote} (${a.file})`,
    remedy: `Add it, as the worker's user: \`incus remote add ${a.remote} https://HOST:8443\`. INCUS_CONF names the folder of another user's.`,
  }),
  'incus-certificate-missing': (a: { remote: string; file: string }): Prose => ({
    message: `there is no ${a.file}, by which Incus at ${a.remote} would know this one`,
    remedy: `\`incus remote add ${a.remote} https://HOST:8443\`, as the worker's user, makes it and has it trusted.`,
  }),
  'incus-unreachable': (a: IncusInstance & { place: string; reason: string }): Prose => ({
    message: `${incusInstance(a)} cannot be reached: Incus does not answer at ${a.place}: ${a.reason}`,
    remedy: isForbidden(a.reason)
      ? 'Run the worker as root, or as a member of the group incus-admin.'
      : `See whether it runs: \`incus info ${a.remote}:\`, and on its machine \`systemctl status incus\`.`,
  }),
  'incus-not-trusted': (a: IncusInstance & { reason: string }): Prose => ({
    message: `Incus does not let this one at ${incusInstance(a)}: ${a.reason}`,
    remedy: `Where its client.crt is not trusted there yet: \`incus config trust add-certificate ${a.remote}: client.crt\`. A certificate may be restricted to other projects: \`incus config trust list ${a.remote}:\`.`,
  }),
  'incus-instance-missing': (a: IncusInstance): Prose => ({
    message: `${incusInstance(a)} does not exist`,
    remedy: `\`incus list ${a.remote}: --project ${a.project}\` shows those that do; name yours in bascule.yaml. \`bascule provision\` makes that of the edge.`,
  }),
  'incus-instance-stopped': (a: IncusInstance): Prose => ({
    message: `${incusInstance(a)} does not run`,
    remedy: `\`incus start ${a.remote}:${a.instance} --project ${a.project}\``,
  }),
  'incus-volume-foreign': (a: IncusInstance & { pool: string; volume: string }): Prose => ({
    message: `${incusInstance(a)} cannot have its data in volume ${a.volume} of storage pool ${a.pool}, which Bascule did not make for it; nothing was touched`,
    remedy: `See whose it is (\`incus storage volume show ${a.pool} ${a.volume}\`), and rename it (\`incus storage volume rename\`), or give the environment another \`prefix\`.`,
  }),
  'incus-instance-foreign': (a: IncusInstance & { expected: string; found: string | null }): Prose => ({
    message: `${incusInstance(a)} is not ${a.expected}'s: ${a.found === null ? 'nothing marks it as made by Bascule' : `it was made for ${a.found}`}; nothing was touched`,
    remedy: `Where it may go: \`incus delete --force ${a.remote}:${a.instance} --project ${a.project}\`, then try again. Else give the environment another \`prefix\`, or the component another name, in bascule.yaml.`,
  }),
  'incus-image-missing': (a: IncusInstance & { image: string; reason: string }): Prose => ({
    message: `${incusInstance(a)} cannot be made from the image ${a.image}: ${a.reason}`,
    remedy: `\`incus image list ${a.remote}: --project ${a.project}\` shows those that there are, \`incus remote list\` whose others can be had; name one as \`instances.image\`, or for the edge as \`provision.image\`.`,
  }),
  'incus-image-unfit': (a: IncusInstance & { image: string; key: string; next: string }): Prose => ({
    message: `${incusInstance(a)} was made from the image ${a.image}, which has no systemd`,
    remedy: `Name an image of Debian or Ubuntu as \`${a.key}\` (such as images:debian/12), remove what was made of this one (\`incus delete --force ${a.remote}:${a.instance} --project ${a.project}\`), and ${a.next} again.`,
  }),
  'incus-profile-missing': (a: IncusInstance & { profile: string }): Prose => ({
    message: `${incusInstance(a)} cannot be made: there is no profile ${a.profile}`,
    remedy: `\`incus profile list ${a.remote}: --project ${a.project}\` shows those that there are; name them as \`instances.profiles\`, or create it.`,
  }),
  'incus-network-unfit': (a: IncusInstance & { profiles: readonly string[]; reason: string }): Prose => ({
    message: `${incusInstance(a)} can be given no address: ${a.reason}`,
    remedy: `One of the profiles ${a.profiles.join(', ')} needs a network card of a bridge that Incus manages, with an IPv4 subnet: \`incus profile device add ${a.profiles[0]} eth0 nic network=incusbr0 name=eth0 --project ${a.project}\`.`,
  }),
  'incus-start-hangs': (a: IncusInstance & { timeoutMs: number }): Prose => ({
    message: `Incus has not started ${incusInstance(a)} within ${a.timeoutMs / 1_000} s, and goes on trying`,
    remedy:
      "The kernel may have no key left for it (`cat /proc/key-users` on Incus's machine: 200/200 of one user, as it comes, is about nine instances). `sysctl -w kernel.keys.maxkeys=2000 kernel.keys.maxbytes=2000000` there, then end its `forkstart` (`pkill -f forkstart`) or restart the machine, and run it again.",
  }),
  'incus-kernel-limit': (a: { setting: string; limit: number; room: number; instances: number }): Prose => ({
    message: `${a.setting} of Incus's machine is ${a.limit}, which is enough for ${a.room} instances: bascule.yaml has ${a.instances} with its edge, and the start of one too many hangs`,
    remedy:
      "There, as root: `printf 'kernel.keys.maxkeys = 2000\\nkernel.keys.maxbytes = 2000000\\nfs.inotify.max_user_instances = 1024\\n' >/etc/sysctl.d/60-incus.conf && sysctl --system`.",
  }),
  'incus-no-subnet': (a: { network: string }): Prose => ({
    message: `network ${a.network}: Incus finds no subnet that nobody uses`,
    remedy: 'Name one as `provision.subnet` in bascule.yaml, such as 10.20.30.1/24; then `bascule provision`.',
  }),
  'incus-address-unfit': (a: IncusInstance & { address: string; reason: string }): Prose => ({
    message: `${incusInstance(a)} cannot have the address ${a.address} of instances.addresses: ${a.reason}`,
    remedy:
      '`incus network show NETWORK` has its subnet (ipv4.address) and what is given out in it to whoever comes (ipv4.dhcp.ranges, else all of it): give `instances.addresses` a part of the first outside of the second, then `bascule apply`.',
  }),
  'incus-full': (a: IncusInstance & { what: string; reason: string; size: string | null }): Prose => ({
    message: `Incus has no room, for ${incusInstance(a)}, ${a.what}: ${a.reason}${a.size === null ? '' : ` (its disk may have ${a.size})`}`,
    remedy: `\`incus storage list ${a.remote}:\` and \`incus storage info ${a.remote}:POOL\` show what is left, \`incus profile show\` the size of the root disk; \`bascule cleanup ENV\` removes what is not used. Then deploy again.`,
  }),
  'edge-not-in-incus': (a: { file: string }): Prose => ({
    message: "the edge is on the worker's own machine, where there is nothing to provision",
    remedy: `\`apt-get install haproxy\` and \`bascule apply\` are all that it needs there. For an edge in an instance of Incus say so in ${a.file}: \`edge: { host: { driver: incus, instance: NAME } }\`.`,
  }),
  'not-of-bascule': (a: {
    remote: string;
    project: string;
    what: string;
    name: string;
    differs: string;
    mend: string;
    key: string;
  }): Prose => ({
    message: `there is ${a.what === 'instance' ? 'an' : 'a'} ${a.what} ${a.name} (project ${a.project} of Incus's remote ${a.remote}) that Bascule did not make, and so does not change: ${a.differs}`,
    remedy: `Name another one as \`${a.key}\` in bascule.yaml, or ${a.what === 'instance' ? 'hand it over, with all that is in it' : 'change it yourself'}: \`${a.mend}\``,
  }),
  'instance-not-booted': (a: IncusInstance & { state: string; timeoutMs: number }): Prose => ({
    message: `${incusInstance(a)} has not booted within ${a.timeoutMs / 1_000} s: ${a.state}`,
    remedy: `\`incus exec ${a.remote}:${a.instance} --project ${a.project} -- systemctl list-jobs\` shows what it waits for. Then \`bascule provision\` again.`,
  }),
  'packages-not-installed': (a: { host: string; packages: readonly string[]; output: string }): Prose => ({
    message: `${a.packages.join(', ')} could not be installed on ${a.host}:\n${a.output}`,
    remedy:
      'Whether it reaches its mirror: `incus exec NAME -- apt-get update`. The network needs `ipv4.nat=true`, or a route. Then `bascule provision` again.',
  }),
  'service-not-started': (a: { host: string; output: string }): Prose => ({
    message: `HAProxy's service did not start on ${a.host}:\n${a.output}`,
    remedy: '`incus exec NAME -- journalctl -u haproxy` says more. Then `bascule provision` again.',
  }),
  'incus-refused': (a: IncusInstance & { what: string; reason: string }): Prose => ({
    message: `Incus refused, for ${incusInstance(a)}, ${a.what}: ${a.reason}`,
    remedy: `\`incus info ${a.remote}:${a.instance} --project ${a.project} --show-log\` shows what it knows of it.`,
  }),
  'state-file-is-link': (a: { host: string; file: string }): Prose => ({
    message: `${a.file} on ${a.host} is a symbolic link; state is neither read nor written through a link`,
    remedy: `Put the file itself there: \`cp --remove-destination $(readlink -f ${a.file}) ${a.file}\`. Where that is not what belongs there: \`rm ${a.file}\`, then \`bascule apply --repair\`.`,
  }),
  'address-unusable': (a: { host: string; address: string; port: number; reason: string }): Prose => ({
    message: `nothing can listen on ${a.address}:${a.port} on ${a.host}: ${a.reason}`,
    remedy: 'Choose an address of that machine and a port that you may use.',
  }),
  'address-in-use': (a: {
    host: string;
    address: string;
    port: number;
    listeners: readonly ListeningProgram[];
  }): Prose => ({
    message: `${a.address}:${a.port} on ${a.host} is taken by ${takenBy(a.listeners)}`,
    remedy: freeRemedy(a.port, a.listeners, 'choose another address, for the edge `edge.http` in bascule.yaml'),
  }),
  'edge-claimed': (a: { host: string; act: string; owner: string; heldBy: string | null; file: string }): Prose => ({
    message: `${a.act} of ${a.owner} was refused: ${
      a.heldBy === null
        ? `${a.file} on ${a.host} was deleted meanwhile, which says whose change may act`
        : `the edge on ${a.host} is claimed by ${a.heldBy}`
    }; nothing was touched`,
    remedy:
      a.heldBy === null
        ? '`bascule doctor` shows what else is gone, `bascule apply --repair` writes it anew.'
        : 'A newer change has the edge. See `bascule status`, then ask again if you still want this one.',
  }),
  'edge-locked': (a: { host: string; file: string }): Prose => ({
    message: `${a.file} on ${a.host} is locked by another process`,
    remedy: `\`fuser ${a.file}\` on ${a.host} names it; a stopped one needs \`kill -CONT\` or \`kill\`.`,
  }),
  'edge-write-failed': (a: { host: string; file: string; reason: string }): Prose => ({
    message: `${a.file} on ${a.host} could not be read or written: ${a.reason}`,
    remedy: writableRemedy(a),
  }),
  'edge-not-writable': (a: { host: string; folder: string; reason: string }): Prose => ({
    message: `nothing can be written into ${a.folder} on ${a.host}: ${a.reason}`,
    remedy: isReadOnly(a.reason)
      ? readOnlyRemedy(a.folder)
      : `Run the worker as a user who may write there (\`ls -ld ${a.folder}\`).`,
  }),
  'edge-file-missing': (a: { host: string; act: string; file: string }): Prose => ({
    message: `${a.act}: there is no ${a.file} on ${a.host}`,
    remedy: 'See `bascule doctor`; `bascule apply --repair` installs the configuration anew.',
  }),
  'edge-file-changed': (a: { host: string; act: string; file: string }): Prose => ({
    message: `${a.act}: ${a.file} on ${a.host} is not what was expected there`,
    remedy: 'See `bascule doctor`; `bascule apply --repair` installs the configuration anew.',
  }),
  'edge-of-other-project': (a: { host: string; file: string; project: string; owner: string }): Prose => ({
    message: `${a.file} on ${a.host} belongs to project ${a.owner}, not to ${a.project}`,
    remedy: 'Give this project an edge of its own: other `edge.files` and another `edge.http` in its bascule.yaml.',
  }),
  'edge-state-unreadable': (a: { host: string; file: string; reason: string }): Prose => ({
    message: `${a.file} on ${a.host} is damaged: ${a.reason}`,
    remedy: '`bascule apply --repair --dry-run` shows what a repair would change, `bascule apply --repair` mends it.',
  }),
  'edge-act-timed-out': (a: { host: string; act: string; folder: string; timeoutMs: number }): Prose => ({
    message: `${a.act} on ${a.host} did not end within ${a.timeoutMs / 1_000} s and was ended`,
    remedy: hangingRemedy(a.folder),
  }),
  'edge-act-failed': (a: { host: string; act: string; exitCode: number; output: string }): Prose => ({
    message: `${a.act} on ${a.host} ended with ${a.exitCode}: ${a.output}`,
    remedy: 'The edge needs sh, flock, sync, sha256sum, stat and setsid; `bascule doctor` looks for them.',
  }),
  'edge-needs-operator': (a: { host: string; file: string; text: string }): Prose => ({
    message: `an earlier change of the edge on ${a.host} could not be taken back:\n${a.text.trim()}`,
    remedy: `Mend it, then \`bascule apply --repair\`, which removes ${a.file}.`,
  }),
  'haproxy-too-old': (a: { host: string; version: string }): Prose => ({
    message: `HAProxy on ${a.host} is ${a.version}; Bascule needs 2.4 or later`,
    remedy: 'Install a later one: https://haproxy.debian.net has them for Debian and Ubuntu.',
  }),
  'edge-not-running': (a: {
    host: string;
    socket: string;
    masterSocket: string;
    config: string;
    manage: boolean;
  }): Prose => ({
    message: `HAProxy does not run on ${a.host}: nobody answers on ${a.socket}`,
    remedy: a.manage
      ? 'A running worker starts it within a second: start one with `bascule worker`, or see its log for why it can not.'
      : `Start it: \`haproxy -W -D -S ${a.masterSocket} -f ${a.config}\`, or with systemd: \`systemctl start haproxy\`.`,
  }),
  'config-broken': (a: { problem: string }): Prose => ({
    message: a.problem,
    remedy: 'Mend it; `bascule validate` checks it. What the worker read last stays in force.',
  }),
  'config-not-applied': (_: Record<string, never>): Prose => ({
    message: 'bascule.yaml differs from what is applied',
    remedy: 'See how with `bascule apply --dry-run`, then `bascule apply`.',
  }),
  'instance-not-running': (a: InstanceName): Prose => ({
    message: `${a.instance} should run and does not`,
    remedy: `A running worker starts it again, at the latest after a minute. ${logsOf(a)} shows why it ended.`,
  }),
  'instance-restarts': (a: InstanceName & { restarts: number }): Prose => ({
    message: `${a.instance} ended by itself and was started again ${a.restarts} times`,
    remedy: `${logsOf(a)} shows why.`,
  }),
  'instance-left-failed': (a: InstanceName): Prose => ({
    message: `${a.instance} holds a release that failed, for a look`,
    remedy: `${logsOf(a)} shows why, \`bascule cleanup ${a.environment}\` removes it; the next deploy does too.`,
  }),
  'release-not-held': (a: InstanceName & { sha: string; role: 'active' | 'standby'; problem: string }): Prose => ({
    message: `${a.instance} ${a.problem}; ${a.environment} has ${a.sha} as ${a.role === 'active' ? 'its active release' : 'its standby'}`,
    remedy:
      a.role === 'active'
        ? `A running worker starts it again. Where it holds another release: \`bascule deploy ${a.environment} ${a.sha} --again\`.`
        : `The next deploy puts that right. Until then nobody should fall back to it: \`bascule cleanup ${a.environment} --standby\`.`,
  }),
  'visitors-elsewhere': (a: {
    environment: string;
    component: string;
    answered: string | null;
    status: number;
    expected: readonly string[];
  }): Prose => ({
    message: `visitors of ${a.environment} ${a.component} get ${a.status === 0 ? 'no answer' : a.status} from ${a.answered ?? 'no instance'} instead of ${a.expected[0] ?? '503: nothing is deployed'}`,
    remedy: `\`bascule status ${a.environment}\` shows which instances are UP; where all are, \`bascule apply --repair\`.`,
  }),
  'left-over': (a: { path: string; since: string; instance: string | null }): Prose => ({
    message: `${a.path}${a.instance === null ? '' : ` in ${a.instance}`} was left by something that did not end (since ${a.since})`,
    remedy: `Where \`bascule status\` shows no operation under way nothing needs it: \`${a.instance === null ? '' : `incus exec ${a.instance} -- `}rm -r ${a.path}\`.`,
  }),
  'stray-process': (a: { pid: number; folder: string; program: string }): Prose => ({
    message: `process ${a.pid} (${a.program}) runs in ${a.folder} and stands in no record`,
    remedy: `\`ps -fp ${a.pid}\` shows what it is; \`kill ${a.pid}\` ends it.`,
  }),
  'runs-as-root': (a: { what: string; pid: number }): Prose => ({
    message: `${a.what} (process ${a.pid}) runs as root and need not`,
    remedy:
      'Run the worker as a user of its own (`bascule init --systemd --user NAME` writes its unit), and end what root started: `bascule dev --stop` as root. An HAProxy that Bascule does not run needs `user haproxy` and `group haproxy` in edge.extra.global.',
  }),
  'disk-low': (a: { path: string; freeBytes: number; totalBytes: number }): Prose => ({
    message: `only ${gigabytes(a.freeBytes)} of ${gigabytes(a.totalBytes)} GB are free where ${a.path} lies`,
    remedy: `Make room: below stands what takes how much. ${whatMayGo}`,
  }),
  'version-differs': (a: { difference: string }): Prose => ({
    message: a.difference,
    remedy: 'Install the same version of Bascule on both, then start the worker again.',
  }),
  'clock-differs': (a: { whose: string; aheadMs: number }): Prose => ({
    message: `${a.whose} is ${Math.abs(a.aheadMs / 1_000).toFixed(0)} s ${a.aheadMs > 0 ? 'ahead' : 'behind'}`,
    remedy: 'Keep the clocks with NTP: `timedatectl set-ntp true`.',
  }),
  'edge-not-master-worker': (a: { host: string; socket: string; config: string }): Prose => ({
    message: `HAProxy on ${a.host} does not answer on its master socket ${a.socket}; without master-worker mode it cannot be reloaded`,
    remedy: `End it, and start it with \`haproxy -W -D -S ${a.socket} -f ${a.config}\`, or let Bascule run it (\`edge.manage: true\`). Debian's service has its master socket at /run/haproxy-master.sock: name it as \`edge.files.master\`.`,
  }),
  'edge-other-haproxy': (a: { host: string; socket: string; file: string; pid: number }): Prose => ({
    message: `the HAProxy that answers on ${a.socket} on ${a.host} (process ${a.pid}) does not run ${a.file}`,
    remedy: 'Give this edge sockets of its own, or end the other HAProxy.',
  }),
  'edge-silent': (a: {
    host: string;
    socket: string;
    pid: number;
    reason: string;
    manage: boolean;
    movedFrom: string | null;
  }): Prose => ({
    message: `HAProxy (process ${a.pid}) runs on ${a.host}, and does not answer on ${a.socket}: ${a.reason}`,
    remedy: silentRemedy(a),
  }),
  'edge-master-silent': (a: { host: string; socket: string; pid: number; reason: string }): Prose => ({
    message: `HAProxy (process ${a.pid}) runs on ${a.host}, and does not answer on its master socket ${a.socket}: ${a.reason}`,
    remedy: isForbidden(a.reason)
      ? 'Run the worker as the user who runs HAProxy.'
      : `\`kill -HUP ${a.pid}\` has it make the socket anew; visitors notice nothing.`,
  }),
  'edge-start-failed': (a: { host: string; log: string; output: string }): Prose => ({
    message: `HAProxy did not start on ${a.host}:\n${a.output}`,
    remedy: `Its whole output is in ${a.log}.`,
  }),
  'edge-drift': (a: { host: string; drift: readonly string[] }): Prose => ({
    message: `the edge on ${a.host} is not as Bascule left it:\n${a.drift.join('\n')}`,
    remedy: '`bascule apply --repair --dry-run` shows what a repair would change, `bascule apply --repair` mends it.',
  }),
  'edge-not-applied': (a: { host: string; file: string }): Prose => ({
    message: `${a.file} on ${a.host} holds no configuration of Bascule yet`,
    remedy: 'Run `bascule apply`.',
  }),
  'environment-not-applied': (a: { environment: string; applied: readonly string[] }): Prose => ({
    message: `the edge does not serve environment ${a.environment} yet; it serves ${a.applied.join(', ') || 'none'}`,
    remedy: 'Run `bascule apply`.',
  }),
  'active-color-changed': (a: { environment: string; expected: string; active: string }): Prose => ({
    message: `${a.environment}: ${a.active} is active, not ${a.expected} as this change expected`,
    remedy: 'Another change came first. See `bascule status`, then ask again if you still want this one.',
  }),
  'color-not-up': (a: { environment: string; color: string; servers: readonly string[] }): Prose => ({
    message: `${a.environment}: ${a.color} cannot take traffic; not UP on the edge: ${a.servers.join(', ')}`,
    remedy: `\`bascule logs ${a.environment} COMPONENT --color ${a.color}\` shows why.`,
  }),
  'visitors-led-away': (a: { instances: readonly string[] }): Prose => ({
    message: `it would lead visitors to where nothing answers: ${a.instances.join(', ')}`,
    remedy:
      'Have them answer there first, or take back what was changed in bascule.yaml: `port`, `instances.addresses` or `domain`. Nothing was changed.',
  }),
  'applied-changed': (a: { expected: string; found: string | null }): Prose => ({
    message: `the configuration changed while the change was under way (${a.found ?? 'none'} instead of ${a.expected})`,
    remedy: 'Run the command again.',
  }),
  'plan-changed': (a: { expected: string; found: string }): Prose => ({
    message: `the configuration renders as ${a.found} now and was planned as ${a.expected}: Bascule itself was changed in between`,
    remedy: 'Run the command again.',
  }),
  'haproxy-refused': (a: { host: string; output: string; lines: readonly string[] }): Prose => ({
    message: `haproxy -c on ${a.host} refused the new configuration:\n${[a.output.trim(), ...a.lines].join('\n')}`,
    remedy:
      'Visitors are served as before. Mend what it names in bascule.yaml; a keyword that it does not know needs a later HAProxy (`haproxy -v`).',
  }),
  'reload-failed': (a: { host: string; reason: string; output: string }): Prose => ({
    message: `HAProxy on ${a.host} did not take the new configuration: ${a.reason}${a.output === '' ? '' : `\n${a.output}`}`,
    remedy: 'Mend what it names; `bascule doctor` shows the state of the edge.',
  }),
  'traffic-not-verified': (a: { host: string; problems: readonly string[] }): Prose => ({
    message: `the edge on ${a.host} does not answer as it should:\n${a.problems.join('\n')}`,
    remedy: "See `bascule status` and the instances' logs.",
  }),
  'certificates-missing': (a: { names: readonly string[] }): Prose => ({
    message: `there is no certificate yet for ${a.names.join(', ')}`,
    remedy: '`bascule apply` obtains it first; `bascule apply --skip-certificates` goes on without.',
  }),
  'challenges-elsewhere': (a: { challenge: string }): Prose => ({
    message: `challenges go to ${a.challenge} (\`certificates.challenge\`): whoever answers there obtains the certificates`,
    remedy:
      'Take `certificates.challenge` out of bascule.yaml and run `bascule apply`; `bascule certs adopt` takes over what is there.',
  }),
  'no-certificates': (a: { project: string }): Prose => ({
    message: `bascule.yaml of ${a.project} asks for no certificates`,
    remedy: 'Write `certificates: { ca, domains }` into it: docs/certificates.md.',
  }),
  'unknown-certificate': (a: { name: string; known: readonly string[] }): Prose => ({
    message: `bascule.yaml asks for no certificate ${a.name}`,
    remedy: a.known.length === 0 ? 'It has no `certificates.domains`.' : `It asks for: ${a.known.join(', ')}.`,
  }),
  'certificate-files-refused': (a: {
    host: string;
    files: readonly { readonly file: string; readonly reason: string }[];
  }): Prose => ({
    message: `HAProxy on ${a.host} refuses files of its certificate folder, and with them any configuration:\n${a.files.map(({ file, reason }) => `${file}: ${reason}`).join('\n')}`,
    remedy: `\`bascule certs issue\` replaces those of \`certificates.domains\`. Move others out of that folder: \`mv ${a.files.map(({ file }) => file).join(' ')} ~\`.`,
  }),
  'no-certificate': (a: { name: string; file: string }): Prose => ({
    message: `there is no certificate of ${a.name}: ${a.file}`,
    remedy: '`bascule certs status` shows what there is.',
  }),
  'certificate-not-good': (a: { name: string; state: string; notAfter: string | null }): Prose => ({
    message: `the certificate of ${a.name} is ${a.state}${a.notAfter === null ? '' : `; it is valid until ${a.notAfter.slice(0, 10)}`}`,
    remedy:
      a.state === 'not served'
        ? `Whoever put it there has to have HAProxy load it: \`systemctl reload haproxy\`, or \`kill -HUP\` of its master where Bascule runs it. \`bascule certs issue ${a.name} --force\` obtains another one, and proves that it is served.`
        : `\`bascule certs ${a.state === 'due' || a.state === 'expired' ? 'renew' : 'issue'}\` obtains it and says what keeps it from being obtained.`,
  }),
  'certificate-not-served': (a: { host: string; problems: readonly string[] }): Prose => ({
    message: `the edge on ${a.host} does not serve the new certificate:\n${a.problems.join('\n')}`,
    remedy:
      'Visitors get the earlier one. See what listens on the address of `edge.https` (`ss -ltnp`), and whether another file of `edge.files.certificates` has the same names.',
  }),
  'unknown-environment': (a: { environment: string; known: readonly string[]; nearest?: string }): Prose => ({
    message: `bascule.yaml has no environment ${a.environment}`,
    remedy:
      a.known.length === 0
        ? 'Its topology is multi-instance, and no component has `run`: Bascule deploys nothing there, `bascule apply` and `bascule status` are for it.'
        : `${a.nearest === undefined ? '' : `Did you mean ${a.nearest}? `}It has: ${a.known.join(', ')}.`,
  }),
  'unknown-component': (a: { environment: string; component: string; known: readonly string[] }): Prose => ({
    message: `there is no component ${a.component} in an environment ${a.environment}`,
    remedy:
      a.known.length === 0
        ? 'Bascule runs no instances here: no component has `run`.'
        : `There are: ${a.known.join(', ')}.`,
  }),
  'component-not-applied': (a: { component: string; environment: string }): Prose => ({
    message: `the edge does not know ${a.component} in ${a.environment} yet: bascule.yaml has it, and is not applied`,
    remedy: 'Run `bascule apply --dry-run` to see what it would change, then `bascule apply`.',
  }),
  'not-up-on-edge': (a: { environment: string; seconds: number; servers: readonly string[] }): Prose => ({
    message: `${a.environment}: healthy from here, but not UP on the edge within ${a.seconds} s: ${a.servers.join('; ')}`,
    remedy:
      'Compare `health` in bascule.yaml with what the edge gets: it asks for the health path with its own Host header.',
  }),
  'server-not-on-edge': (a: { backend: string; server: string }): Prose => ({
    message: `the edge has no server ${a.backend}/${a.server}`,
    remedy: 'Somebody applied another configuration meanwhile: run `bascule status`, then `bascule apply`.',
  }),
  'servers-in-maintenance': (a: { environment: string; servers: readonly string[] }): Prose => ({
    message: `${a.environment}: all of its instances are in maintenance on the edge: ${a.servers.join(', ')}`,
    remedy:
      "`echo 'set server BACKEND/NAME state ready' | socat - SOCKET` on the edge, with `edge.files.socket`, ends it; then deploy again.",
  }),
  'server-in-use': (a: { backend: string; server: string }): Prose => ({
    message: `the edge may give visitors to ${a.backend}/${a.server}: it is not taken for down`,
    remedy: 'Another operation has made it active meanwhile: see what is so with `bascule status`.',
  }),
  'errors-in-soak': (a: {
    environment: string;
    color: string;
    measure: 'errors' | 'connections' | 'latency';
    requests: number;
    errors: number;
    connectionErrors: number;
    allowedShare: number;
    allowed: number;
    baseline: number | null;
  }): Prose => ({
    message: `${a.environment}: ${failedShare(a)}; ${
      a.baseline === null
        ? `${percent(a.allowedShare)} are allowed`
        : `the release before had ${percent(a.baseline)}, and ${percent(a.allowedShare)} more are allowed`
    }`,
    remedy: `\`bascule logs ${a.environment} COMPONENT --color ${a.color}\` shows them where it logs them; \`soak.errorShare\` in bascule.yaml sets the share.`,
  }),
  'instance-restarted': (a: InstanceName & { restarts: number }): Prose => ({
    message: `${a.instance} was healthy and then ended by itself${a.restarts === 0 ? '' : `, ${times(a.restarts)}`}, before the deploy was done`,
    remedy: `${logsOf(a)} shows why. Mend it, then deploy again.`,
  }),
  'unhealthy-in-soak': (a: InstanceName & { status: string }): Prose => ({
    message: `${a.environment}: ${a.instance} did not stay healthy in its soak: ${a.status}`,
    remedy: `${logsOf(a)} shows why. Mend it, then deploy again.`,
  }),
  'nothing-to-roll-back-to': (a: { environment: string; active: string | null }): Prose => ({
    message: `${a.environment} has no release below ${a.active ?? 'the first one'} to go back to`,
    remedy: 'See what it served with `bascule history`; a release that is not in it is deployed: `bascule deploy`.',
  }),
  'switch-refused': (a: { environment: string; color: string; why: string }): Prose => ({
    message: `${a.environment} can't be switched to ${a.color}: ${a.why}`,
    remedy: 'Deploy the release that you want: `bascule deploy`.',
  }),
  'soak-not-here': (a: { environment: string }): Prose => ({
    message: `${a.environment} has no soak: its instances stand side by side and are replaced one after the other`,
    remedy: 'Leave `--soak` out. Each instance has to be UP on the edge before the next one is replaced.',
  }),
  'failover-test-refused': (a: { environment: string; component: string; why: string; remedy: string }): Prose => ({
    message: `${a.component} of ${a.environment} is not tested: ${a.why}; nothing was touched`,
    remedy: a.remedy,
  }),
  'failover-not-served': (a: {
    component: string;
    visits: number;
    when: string;
    statuses: readonly string[];
  }): Prose => ({
    message: `${a.statuses.length} of ${a.visits} requests to ${a.component} were not served ${a.when}: ${a.statuses.join(', ')}`,
    remedy: '`bascule status` shows what the edge has of its servers, `bascule logs` what they said.',
  }),
  'failover-not-noticed': (a: { instance: string; seconds: number; last: string }): Prose => ({
    message: `the edge did not have ${a.instance} DOWN within ${a.seconds} s of its end: ${a.last}`,
    remedy: 'See whether `health` in bascule.yaml asks for what only that instance answers, and `fall` and `interval`.',
  }),
  'drain-stuck': (a: {
    environment: string;
    color: string;
    workers: readonly { pid: number; connections: number }[];
  }): Prose => ({
    message: `${a.environment}: old HAProxy workers still have connections that may reach ${a.color}, though they were ended: ${a.workers.map((one) => `process ${one.pid}: ${one.connections}`).join(', ')}`,
    remedy: 'End them on the edge by `kill -9 PID`, which cuts their visitors and no others, and deploy again.',
  }),
  'drain-too-late': (a: { environment: string; color: string }): Prose => ({
    message: `${a.environment} may give visitors to ${a.color}, which was to be drained: nobody's connection is ended`,
    remedy: 'Another operation has made it active meanwhile: see what is so with `bascule status`.',
  }),
  'worker-running': (a: { file: string; pid: number | null; host: string | null }): Prose => ({
    message: `another worker of this project runs${a.pid === null ? '' : ` (process ${a.pid} on ${a.host})`}; it holds ${a.file}`,
    remedy: 'Use that one, or stop it first. A lease that is not renewed for 30 s is taken over by itself.',
  }),
  'worker-would-restart': (a: { pid: number; host: string }): Prose => ({
    message: `a worker of this project runs (process ${a.pid} on ${a.host}), which would start again what is stopped; nothing more was stopped`,
    remedy: `End it first: \`kill ${a.pid}\` (where a service manager keeps it running, by that), then \`bascule dev --stop\`.`,
  }),
  'dev-running': (a: { pid: number; startedAt: string }): Prose => ({
    message: `\`bascule dev\` of this project runs already: process ${a.pid}, since ${a.startedAt}`,
    remedy: 'Use that one, or end it with `bascule dev --stop`.',
  }),
  'activity-outside-workflow': (a: { activity: string; workflow: string | null }): Prose => ({
    message: `${a.activity} was asked for ${a.workflow === null ? 'by itself' : `by a workflow ${a.workflow}`}; it runs in Bascule's own workflows alone`,
    remedy:
      'Nothing was done. Ask by the commands of `bascule`; who else reaches Temporal is said in docs/security.md.',
  }),
  'search-attribute-missing': (a: { namespace: string; missing: readonly string[] }): Prose => ({
    message: `Temporal's namespace ${a.namespace} lacks the search attributes ${a.missing.join(', ')}, without which every workflow would hang`,
    remedy: `temporal operator search-attribute create --namespace ${a.namespace} ${a.missing.map((name) => `--name ${name} --type Keyword`).join(' ')}`,
  }),
  'config-unreadable': (a: { file: string; reason: string }): Prose => ({
    message: `${a.file} cannot be read (${a.reason})`,
    remedy: 'Make it a file that you may read, or name another with --config FILE.',
  }),
  'no-artifacts': (a: { project: string }): Prose => ({
    message: `bascule.yaml of ${a.project} does not say where artifacts come from`,
    remedy: 'Add `artifacts:` with a `url`, and deploy again.',
  }),
  'secret-missing': (a: { purpose: string; source: string; reason: string }): Prose => ({
    message: `${a.purpose}: ${a.source} ${a.reason}`,
    remedy: `bascule.yaml names ${a.source}: it has to be there, with the secret in it, for the worker (with systemd a variable stands in /etc/bascule/PROJECT.env: restart the worker then), and where you type \`bascule exec\`.`,
  }),
  'artifact-not-configured': (a: { what: string; expected: string }): Prose => ({
    message: `${a.what} is no artifact of bascule.yaml, which has it at ${a.expected}; nothing was fetched`,
    remedy: 'bascule.yaml was changed after the artifact was pinned. Deploy again.',
  }),
  'artifact-not-found': (a: { url: string }): Prose => ({
    message: `there is no artifact at ${a.url}`,
    remedy: 'Check the sha and `artifacts` in bascule.yaml. Some servers say so too when a token is missing.',
  }),
  'artifact-unauthorized': (a: {
    url: string;
    status: number;
    token: string | null;
    /** The origin that answered so, where it is none that gets the token. */
    elsewhere: string | null;
  }): Prose => ({
    message: `${a.url} may not be read: the server answered ${a.status} ${tokenSent(a)}`,
    remedy:
      a.elsewhere !== null
        ? 'The token is sent to the origin of `artifacts.url` alone, and over https. Put what it protects there.'
        : a.token === null
          ? 'Name one as `artifacts.token` in bascule.yaml.'
          : `Put a token that may read it in ${a.token}, where the worker sees it.`,
  }),
  'artifact-unreachable': (a: { url: string; reason: string }): Prose => ({
    message: `${a.url} could not be read: ${a.reason}`,
    remedy:
      'Check that the worker reaches that server, then deploy again. Where that takes a proxy, name it as `HTTPS_PROXY` in the environment of the worker.',
  }),
  'artifact-server-untrusted': (a: {
    url: string;
    server: string;
    reason: string;
    why: 'unknown' | 'expired' | 'other name';
  }): Prose => ({
    message: `${a.url} was not read, since the certificate of ${a.server} is not trusted: ${a.reason}`,
    remedy: untrustedRemedy[a.why],
  }),
  'artifact-ca-file-unreadable': (a: { file: string; reason: string }): Prose => ({
    message: `${a.file}, which names the roots that servers of artifacts are trusted by, cannot be read: ${a.reason}`,
    remedy: 'Put the roots there, as PEM, or take `artifacts.caFile` out of bascule.yaml.',
  }),
  'artifact-truncated': (a: { url: string; receivedBytes: number; expectedBytes: number | null }): Prose => ({
    message: `${a.url} ended after ${a.receivedBytes} bytes${a.expectedBytes === null ? '' : ` of ${a.expectedBytes}`}`,
    remedy: 'Deploy again; if it stays so, upload the artifact anew.',
  }),
  'artifact-wrong-checksum': (a: { url: string; expected: string; found: string; answer: string }): Prose => ({
    message: `${a.url} has SHA-256 ${a.found}, and ${a.expected} was pinned; it answered ${a.answer}`,
    remedy:
      'The artifact or its checksum file was changed after the other. Upload both, then deploy again. A page in place of an archive comes from a login or an error of the server.',
  }),
  'artifact-too-large': (a: { what: string; maxBytes: number }): Prose => ({
    message: `${a.what} is larger than ${a.maxBytes} bytes`,
    remedy: 'Make the artifact smaller, or raise `artifacts.maxSize` in bascule.yaml.',
  }),
  'artifact-checksum-unreadable': (a: { url: string; answer: string }): Prose => ({
    message: `${a.url} holds no SHA-256 (${a.answer}): expected 64 hexadecimal digits, alone or as sha256sum prints them`,
    remedy: 'Write it with `sha256sum FILE >FILE.sha256`, or leave `artifacts.checksum` out of bascule.yaml.',
  }),
  'artifact-not-a-tar': (a: { file: string; answer: string | null }): Prose => ({
    message: `${a.file} is no tar archive${a.answer === null ? '' : `: it answered ${a.answer}`}`,
    remedy:
      'An artifact is a .tar.gz, .tar.zst or .tar with the files of the release at its root. A page in its place comes from a login or an error of the server: open the URL with the same token.',
  }),
  'artifact-damaged': (a: { file: string; reason: string }): Prose => ({
    message: `${a.file} cannot be unpacked, although its checksum is right: ${a.reason}`,
    remedy: 'It was damaged or cut off before its checksum was taken. Build and upload it anew.',
  }),
  'artifact-hostile': (a: { file: string; entry: string; reason: string }): Prose => ({
    message: `${a.file} is refused as a whole for its entry ${JSON.stringify(a.entry)}: ${a.reason}`,
    remedy: 'Find out how that entry got into the artifact, and build it without.',
  }),
  'artifact-entry-unsupported': (a: { file: string; entry: string; reason: string }): Prose => ({
    message: `${a.file} cannot be unpacked whole, for its entry ${JSON.stringify(a.entry)}: ${a.reason}`,
    remedy:
      'Build it again with plain files, folders and links alone: `tar -czf FILE.tar.gz -C FOLDER .`, without `--sparse` and the like.',
  }),
  'artifact-compression-unsupported': (a: { file: string }): Prose => ({
    message: `${a.file} is compressed with zstd, which this Node.js cannot read, and the program zstd is not installed`,
    remedy: 'Install zstd where the worker runs (`apt install zstd`), or publish a .tar.gz.',
  }),
  'instance-fenced': (a: { instance: string; act: string; owner: string; heldBy: string | null }): Prose => ({
    message: `${a.act} of ${a.instance} for ${a.owner} was refused: ${
      a.heldBy === null
        ? 'its record is gone, which was deleted meanwhile'
        : `the instance is ${a.heldBy === a.owner ? 'in another state by now' : `claimed by ${a.heldBy}`}`
    }; nothing was touched`,
    remedy:
      a.heldBy === null
        ? 'Deploy again, which makes it anew.'
        : 'A newer operation has the instance. See `bascule status`, then ask again if you still want this one.',
  }),
  'instance-active': (a: { instance: string; act: string; environment: string; color: string }): Prose => ({
    message: `${a.act} of ${a.instance} was refused: ${a.color} is the active color of ${a.environment}; nothing was touched`,
    remedy: `Give visitors the other color first, see \`bascule status ${a.environment}\`.`,
  }),
  'instance-not-started': (a: { instance: string; lines: readonly string[] }): Prose => ({
    message: `the service of ${a.instance} could not be started${lastLines(a.lines)}`,
    remedy:
      'See whether `run` in bascule.yaml names a program that is in the artifact or in the image, then deploy again.',
  }),
  'instance-busy': (a: { instance: string; file: string }): Prose => ({
    message: `${a.instance} is locked by another process (${a.file})`,
    remedy: `\`fuser ${a.file}\` names it; a stopped one needs \`kill -CONT\` or \`kill\`.`,
  }),
  'instance-write-failed': (a: { instance: string; file: string; reason: string }): Prose => ({
    message: `${a.file} of ${a.instance} could not be read or written: ${a.reason}`,
    remedy: writableRemedy(a),
  }),
  'file-not-writable': (a: { file: string; reason: string }): Prose => ({
    message: `${a.file} cannot be written: ${a.reason}`,
    remedy: writableRemedy(a),
  }),
  'instance-record-damaged': (a: { instance: string; file: string; reason: string }): Prose => ({
    message: `the record of ${a.instance} in ${a.file} is damaged: ${a.reason}`,
    remedy: `End what still listens on its address, remove ${a.file}, and deploy again.`,
  }),
  'instance-empty': (a: { instance: string }): Prose => ({
    message: `${a.instance} holds no release`,
    remedy: 'See `bascule status` for the color that does, and name it with --color.',
  }),
  'instance-release-missing': (a: { instance: string; sha: string }): Prose => ({
    message: `${a.instance} does not hold release ${a.sha}`,
    remedy: 'Deploy it.',
  }),
  'instance-still-running': (a: { instance: string; pid: string }): Prose => ({
    message: `process ${a.pid} of ${a.instance} still runs`,
    remedy: `See what holds it with \`ps -o pid,stat,wchan,args ${a.pid}\`, then try again.`,
  }),
  'instance-exited': (a: { instance: string; lines: readonly string[] }): Prose => ({
    message: `${a.instance} ended before it was healthy${lastLines(a.lines)}`,
    remedy: a.lines.some((line) => /EADDRINUSE|address already in use/i.test(line))
      ? 'It asked for an address that is taken. Have it listen on $HOST:$PORT alone: 0.0.0.0 and :: take the addresses of the other color too. Then deploy again.'
      : 'Mend what its log says, then deploy again.',
  }),
  'instance-unhealthy': (a: {
    instance: string;
    url: string;
    deadlineMs: number;
    answers: readonly string[];
    /** Where it listens, if that is known and not where it is asked. */
    listensElsewhere: readonly string[];
    lines: readonly string[];
  }): Prose => ({
    message: `${a.instance} was not healthy at ${a.url} within ${a.deadlineMs / 1_000} s; it answered: ${a.answers.join(', ')}${a.listensElsewhere.length === 0 ? '' : `; it listens on ${a.listensElsewhere.join(', ')} instead`}${lastLines(a.lines)}`,
    remedy:
      a.listensElsewhere.length === 0
        ? 'Mend the service or its `health.path`, or raise `startDeadline` in bascule.yaml, then deploy again.'
        : 'Have the program listen on the address in $HOST and the port in $PORT, then deploy that.',
  }),
  'port-in-use': (a: {
    instance: string;
    address: string;
    port: number;
    listeners: readonly ListeningProgram[];
  }): Prose => ({
    message: `${a.instance} cannot start: ${a.address}:${a.port} is taken by ${takenBy(a.listeners)}`,
    remedy: freeRemedy(a.port, a.listeners, 'choose another `port` or other `instances.addresses`'),
  }),
  'instance-listens-everywhere': (a: {
    instance: string;
    pid: number;
    program: string;
    listensOn: string;
    address: string;
    port: number;
  }): Prose => ({
    message: `${a.instance} listens on every address, not on $HOST: process ${a.pid} (${a.program}) has ${a.listensOn} where ${a.address}:${a.port} is its own; no other color or environment could start beside it, so it was ended`,
    remedy:
      'Have the program listen on the address in $HOST and the port in $PORT (not 0.0.0.0, :: or no address at all), then deploy that.',
  }),
  'migration-running': (a: { instance: string }): Prose => ({
    message: `a migration that an earlier operation began on ${a.instance} still runs`,
    remedy: 'Wait until it has ended (`bascule logs` shows its output), then deploy again.',
  }),
  'migration-failed': (a: { instance: string; exitCode: string; lines: readonly string[] }): Prose => ({
    message: `the migration on ${a.instance} ended with ${a.exitCode}${lastLines(a.lines)}`,
    remedy: 'What it did is not taken back. Mend it, then deploy again, which runs it anew.',
  }),
  'migration-timed-out': (a: { instance: string; timeoutMs: number; lines: readonly string[] }): Prose => ({
    message: `the migration on ${a.instance} did not end within ${a.timeoutMs / 1_000} s and was ended${lastLines(a.lines)}`,
    remedy:
      'What it did is not taken back. Raise `migrate.timeout` in bascule.yaml, then deploy again, which runs it anew.',
  }),
  'instance-act-timed-out': (a: { instance: string; act: string; folder: string; timeoutMs: number }): Prose => ({
    message: `${a.act} of ${a.instance} did not end within ${a.timeoutMs / 1_000} s and was ended`,
    remedy: hangingRemedy(a.folder),
  }),
  'instance-act-failed': (a: { instance: string; act: string; exitCode: number; output: string }): Prose => ({
    message: `${a.act} of ${a.instance} ended with ${a.exitCode}: ${a.output}`,
    remedy: 'This is not foreseen. See what it says, then try again.',
  }),
  'edge-value-unsafe': (a: { value: string }): Prose => ({
    message: `${JSON.stringify(a.value)} cannot stand in haproxy.cfg: HAProxy would not read it as one plain word`,
    remedy: 'Change it in bascule.yaml, then run `bascule apply`.',
  }),
  'instance-without-address': (a: { instance: string }): Prose => ({
    message: `the applied configuration gives no address to instance ${a.instance}`,
    remedy: 'Run `bascule apply`.',
  }),
  'haproxy-unreachable': (a: { socket: string; reason: string }): Prose => ({
    message: `HAProxy does not answer on ${a.socket}: ${a.reason}`,
    remedy: 'See whether it runs, and whether you may use its socket; `bascule doctor` looks for both.',
  }),
  'haproxy-command-refused': (a: { socket: string; command: string; answer: string }): Prose => ({
    message: `HAProxy refused \`${a.command}\` on ${a.socket}: ${a.answer}`,
    remedy: '`bascule doctor` shows the state of the edge.',
  }),
  'too-many-wait': (a: { operation: string; environment: string; waits: number }): Prose => ({
    message: `${a.waits} wait for ${a.environment} by this Update already, and nobody else can until one was answered`,
    remedy: `Ask the Query \`result\` for ${a.operation}, as often as you like, or \`bascule follow ${a.operation}\`.`,
  }),
  'too-many-requests': (a: { operation: string; environment: string; requests: number }): Prose => ({
    message: `${a.environment} was asked ${a.requests} times, and takes no further request until ${a.operation} has ended`,
    remedy: `\`bascule follow ${a.operation}\` waits for that; \`bascule approve\`, \`abort\` and \`rollback ${a.environment}\` are taken all the same.`,
  }),
  'unknown-field': (a: { request: string; unknown: readonly string[]; known: readonly string[] }): Prose => ({
    message: `the worker's ${a.request} has no ${a.unknown.join(', ')}; it has ${a.known.join(', ')}`,
    remedy: otherVersionRemedy,
  }),
  'unknown-request': (a: { request: string }): Prose => ({
    message: `the worker does not know what ${a.request} is`,
    remedy: otherVersionRemedy,
  }),
  refused: (a: { code: string; message: string; remedy: string }): Prose => ({ message: a.message, remedy: a.remedy }),
  'not-answered': (a: { code: string; message: string; remedy: string }): Prose => ({
    message: `the worker could not answer: ${a.message}`,
    remedy: a.remedy,
  }),
  'encryption-key-invalid': (a: { source: string; reason: string }): Prose => ({
    message: `${a.source} ${a.reason}`,
    remedy: newKeyRemedy,
  }),
  'encryption-key-missing': (a: { keyId: string }): Prose => ({
    message: `what Temporal holds is encrypted with the key ${a.keyId}, which is not here`,
    remedy: `Put it, as \`${a.keyId}:<key>\`, in BASCULE_ENCRYPTION_KEY, behind a comma where another one stands there: whoever runs the worker has it (with systemd it stands in /etc/bascule/PROJECT.env).`,
  }),
  'encryption-key-wrong': (a: { keyId: string }): Prose => ({
    message: `the key ${a.keyId} that is here does not decrypt what was encrypted with a key of that id: it is another one`,
    remedy: `Put the worker's key ${a.keyId} in BASCULE_ENCRYPTION_KEY. A new key needs a new id.`,
  }),
  'encryption-key-not-on-worker': (a: { keyId: string; worker: string }): Prose => ({
    message: `the worker (${a.worker}) could not read what is asked: it does not have the key ${a.keyId} that is here, or another one under that id`,
    remedy: `Give the worker the same BASCULE_ENCRYPTION_KEY and start it again. To take a new key into use, give it to every worker and command as the second one first, then move it to the front.`,
  }),
  'temporal-refused': (a: { address: string }): Prose => ({
    message: `Temporal at ${a.address} does not let this one in`,
    remedy:
      'Put a key that may use the namespace in TEMPORAL_API_KEY, or a certificate in TEMPORAL_TLS_CLIENT_CERT_PATH.',
  }),
  'temporal-settings-unusable': (a: { reason: string }): Prose => ({
    message: `what the environment (TEMPORAL_*) and temporal.toml say about Temporal cannot be used: ${a.reason}`,
    remedy:
      'Mend what it names. TEMPORAL_CONFIG_FILE and TEMPORAL_PROFILE say which temporal.toml and what of it is read.',
  }),
  'temporal-unreachable': (a: { address: string }): Prose => ({
    message: `Temporal does not answer at ${a.address}`,
    remedy:
      'Start it (`bascule dev` does, for this machine), or name its address in TEMPORAL_ADDRESS. Over TLS its certificate and yours have to be those that TEMPORAL_TLS_* names.',
  }),
  'namespace-missing': (a: { namespace: string; address: string }): Prose => ({
    message: `Temporal at ${a.address} has no namespace ${a.namespace}`,
    remedy: `Create it with \`temporal operator namespace create --address ${a.address} --namespace ${a.namespace} --retention 30d\`, or name the right one in TEMPORAL_NAMESPACE.`,
  }),
  'temporal-lost': (a: { operation: string | null }): Prose => ({
    message:
      a.operation === null
        ? 'Temporal stopped answering while it was asked; it may have accepted the request'
        : `Temporal stopped answering; ${a.operation} goes on when it is back`,
    remedy: a.operation === null ? 'See `bascule status`.' : `bascule follow ${a.operation}`,
  }),
  'timeout-passed': (a: { operation: string; timeout: string }): Prose => ({
    message: `${a.operation} has not ended after ${a.timeout} (--timeout); it goes on`,
    remedy: `bascule follow ${a.operation}`,
  }),
  'no-worker': (a: { project: string; taskQueue: string }): Prose => ({
    message: `no worker of project ${a.project} answers (task queue ${a.taskQueue})`,
    remedy: 'Start one with `bascule worker`, or look at the log of the one that should run.',
  }),
  'bad-sha': (a: { sha: string }): Prose => ({
    message: `${JSON.stringify(a.sha)} is no sha`,
    remedy: 'A sha has 7 to 40 hexadecimal digits, such as those of `git rev-parse HEAD`.',
  }),
  'unknown-operation': (a: { operation: string }): Prose => ({
    message: `Temporal knows no operation ${a.operation}`,
    remedy: '`bascule status` names those that run.',
  }),
  'operation-lost': (a: { operation: string }): Prose => ({
    message: `Temporal no longer knows ${a.operation}, which was under way: its database was lost, or another one answers`,
    remedy:
      'Nothing carries it on. See with `bascule status` what serves visitors and where it stopped, then deploy again; `bascule cleanup ENV` removes what it left.',
  }),
  'systemd-as-root': (a: { folder: string }): Prose => ({
    message: 'these units would run the worker, HAProxy and every release as root',
    remedy: `Name the user whom the worker is to run as, who has to own ${a.folder}: bascule init --systemd --user NAME. \`useradd --system NAME\` makes one.`,
  }),
  'user-unknown': (a: { user: string }): Prose => ({
    message: `this machine has no user ${a.user}`,
    remedy: `Make it first: useradd --system ${a.user}`,
  }),
  'file-exists': (a: { file: string }): Prose => ({
    message: `${a.file} exists already; it was not touched`,
    remedy: 'Move it away first, or run this in another folder.',
  }),
  'temporal-not-installed': (a: { file: string }): Prose => ({
    message: `Temporal's CLI is neither at ${a.file} nor in PATH`,
    remedy: 'Run script/setup, or install it: https://docs.temporal.io/cli',
  }),
  'temporal-start-failed': (a: { log: string; lines: readonly string[] }): Prose => ({
    message: `Temporal's dev server did not start${lastLines(a.lines)}`,
    remedy: `Its whole log is ${a.log}.`,
  }),
  'temporal-ended': (a: { log: string; how: string; lines: readonly string[] }): Prose => ({
    message: `Temporal's dev server ended again and again (${a.how})${lastLines(a.lines)}`,
    remedy: `Its whole log is ${a.log}.`,
  }),
  'worker-ended': (a: { log: string; how: string; lines: readonly string[] }): Prose => ({
    message: `the worker ended (${a.how})${lastLines(a.lines)}`,
    remedy: `Its whole log is ${a.log}.`,
  }),
  'notice-not-taken': (a: { operation: string; reason: string }): Prose => ({
    message: `nobody could be told that ${a.operation} has ended: ${a.reason}`,
    remedy: 'See whether the URL of `notify.url` is right and reached from here.',
  }),
  'acme-refused': (a: {
    ca: string;
    act: string;
    status: number;
    /** Of the problem document, without its prefix, such as `rejectedIdentifier`. */
    type: string;
    problem: string;
  }): Prose => ({
    message: `${a.ca} refused to ${a.act}: ${a.problem}`,
    remedy: refusalRemedy(a.type),
  }),
  'acme-rate-limited': (a: { ca: string; act: string; problem: string } & RetryAfter): Prose => ({
    message: `${a.ca} has had too many requests, and does not ${a.act} now: ${a.problem}`,
    remedy: `${a.retryAt ? `It may be asked again at ${a.retryAt}; the schedule of renewals does so then.` : 'The schedule of renewals asks again.'} More requests only make it later.`,
  }),
  'acme-unavailable': (a: { ca: string; act: string; reason: string } & RetryAfter): Prose => ({
    message: `${a.ca} could not be asked to ${a.act}: ${a.reason}`,
    remedy: `It is asked again by itself${a.retryAt ? `, at ${a.retryAt}` : ''}. Where it goes on, see whether that server is reached from here (\`curl -I\`).`,
  }),
  'acme-ca-file-missing': (a: { file: string }): Prose => ({
    message: `${a.file}, which names the roots to trust, does not exist`,
    remedy: 'Put it there, or take `certificates.caFile` out of bascule.yaml.',
  }),
  'acme-untrusted': (a: { ca: string; reason: string }): Prose => ({
    message: `the certificate of ${a.ca} itself is not trusted: ${a.reason}`,
    remedy: 'Where it is an authority of your own, name the PEM file of its root as `certificates.caFile`.',
  }),
  'acme-answer-unreadable': (a: { ca: string; act: string; reason: string }): Prose => ({
    message: `${a.ca}, asked to ${a.act}, answered what no certificate authority answers (RFC 8555): ${a.reason}`,
    remedy: 'See whether `certificates.ca` is the URL of its ACME directory.',
  }),
  'acme-order-pending': (a: { ca: string; what: string } & RetryAfter): Prose => ({
    message: `${a.ca} has not ended yet: ${a.what}`,
    remedy: `Nothing is lost: the schedule of renewals goes on with the same order${a.retryAt ? ` at ${a.retryAt}, when the authority wants to be asked again` : ''}.`,
  }),
  'acme-order-missing': (a: { name: string; file: string }): Prose => ({
    message: `there is no order for the certificate of ${a.name} (${a.file})`,
    remedy: `\`bascule certs issue ${a.name}\` begins one.`,
  }),
  'acme-account-missing': (a: { ca: string; file: string }): Prose => ({
    message: `no account is registered with ${a.ca} (${a.file})`,
    remedy: '`bascule certs issue` registers one.',
  }),
  'acme-account-key-unusable': (a: { file: string; reason: string }): Prose => ({
    message: `${a.file} cannot be the key of an account: ${a.reason}`,
    remedy:
      'It has to be a private key as PEM without a password, of RSA (2048 bits or more) or on the curve P-256 or P-384.',
  }),
  'acme-account-in-use': (a: { ca: string; file: string }): Prose => ({
    message: `another account is registered with ${a.ca} already (${a.file})`,
    remedy: `To give that one up: \`mv ${a.file} ${a.file}.away\`, then adopt again, and \`bascule apply\`, since the edge answers with the key's thumbprint.`,
  }),
  'acme-external-account-needed': (a: { ca: string }): Prose => ({
    message: `${a.ca} takes only those whom it knows already (external account binding)`,
    remedy: 'It gives its customers an id and a key: name them as `certificates.eab.keyId` and `certificates.eab.key`.',
  }),
  'acme-external-account-unusable': (_: Record<string, never>): Prose => ({
    message: 'the key of `certificates.eab` is not written in base64url',
    remedy: 'Take it over as the authority shows it: letters, digits, `-` and `_`.',
  }),
  'acme-file-damaged': (a: { name: string; file: string; reason: string }): Prose => ({
    message: `${a.file}, the key of an order, is damaged: ${a.reason}`,
    remedy: `The order is given up: \`bascule certs issue ${a.name}\` begins another, with a key of its own.`,
  }),
  'challenge-failed': (a: { ca: string; problems: readonly string[] }): Prose => ({
    message: `${a.ca} could not see that these names are served here:\n${a.problems.join('\n')}`,
    remedy:
      'It asks http://NAME/.well-known/acme-challenge/… on port 80 from outside: see that the name leads to the edge, by IPv6 too where it has such an address, and that nothing before the edge answers.',
  }),
  'certificate-unusable': (a: { name: string; reason: string }): Prose => ({
    message: `the certificate of ${a.name} cannot be used: ${a.reason}`,
    remedy:
      'Nothing was installed, the earlier one goes on being served. See the clock of this machine, and what the authority says.',
  }),
  'certificate-forbidden': (a: { ca: string; problems: readonly string[] }): Prose => ({
    message: `${a.ca} would have to refuse by what stands in DNS (CAA):\n${a.problems.join('\n')}`,
    remedy:
      'Add a record for it, such as `example.org. CAA 0 issue "letsencrypt.org"`, or name another `certificates.ca`.',
  }),
  'name-not-found': (a: { names: readonly string[] }): Prose => ({
    message: `there is no address in DNS for ${a.names.join(', ')}`,
    remedy: 'Add an A or AAAA record that leads to the edge, or take the name out of `certificates.domains`.',
  }),
  'challenge-not-answered': (a: { address: string; port: number; problems: readonly string[] }): Prose => ({
    message: `the edge at ${a.address}:${a.port} does not answer challenges:\n${a.problems.join('\n')}`,
    remedy: '`bascule apply` has it answer them; `bascule status` shows whether what is applied is what runs.',
  }),
  usage: (a: { problem: string; help: string }): Prose => ({ message: a.problem, remedy: a.help }),
} as const;

export type ErrorCode = keyof typeof prose;
type ErrorArguments<C extends ErrorCode> = Parameters<(typeof prose)[C]>[0];

/**
 * Where a failure may be of the moment (a refused connection, a busy lock) another try can help; everything else is
 * final at once. Read by the activities' one wrapper.
 */
const retryable: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'command-timed-out',
  'command-ended',
  'incus-unreachable',
  'incus-instance-stopped',
  'incus-refused',
  'edge-act-timed-out',
  'edge-locked',
  'edge-write-failed',
  'file-not-writable',
  'haproxy-unreachable',
  'artifact-unreachable',
  'artifact-truncated',
  'instance-act-timed-out',
  'instance-busy',
  'instance-write-failed',
  'instance-still-running',
  'migration-running',
  'acme-rate-limited',
  'acme-unavailable',
  'acme-order-pending',
]);

/** Every error that Bascule foresees. Anything else that is thrown is a bug, and exits with 70. */
export class BasculeError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'BasculeError';
  readonly remedy: string;

  constructor(
    readonly code: C,
    readonly args: ErrorArguments<C>,
    options?: ErrorOptions,
  ) {
    // The union of all entries' functions can't be called with the union of their arguments; code and args belong together.
    const said = (prose[code] as (a: ErrorArguments<C>) => Prose)(args);
    super(said.message, options);
    this.remedy = said.remedy;
  }

  get isRetryable(): boolean {
    return retryable.has(this.code);
  }
}

export const isBasculeError = (error: unknown): error is BasculeError =>
  error instanceof Error && error.name === 'BasculeError';
