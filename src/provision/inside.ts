import * as z from 'zod';
import { inFull } from '../domain/incus-place.js';
import { type FoundInside, type ProvisionWanted, wantedDropIn, wantedUpgrades } from '../domain/provision.js';
import { BasculeError } from '../errors.js';
import type { Host, RunResult } from '../hosts/host.js';

/** Longer than a look takes in an instance that is just booting. */
const lookMs = 30_000;
const serviceMs = 60_000;
/** A slow mirror; worker and workflow give it as long. */
const installMs = 14 * 60_000;

const files = {
  dropIn: '/etc/systemd/system/haproxy.service.d/bascule.conf',
  upgrades: '/etc/apt/apt.conf.d/52bascule-upgrades',
} as const;

/**
 * Arguments: the configuration, the drop-in, apt's file, how many packages, these, the folders. Prints a line for each
 * thing that is there, and the two files as base64.
 */
const looker = `
config=$1 drop_in=$2 upgrades=$3 count=$4
shift 4
if ! command -v systemctl >/dev/null; then echo 'system none'
elif [ -d /run/systemd/system ]; then echo "system $(systemctl is-system-running 2>/dev/null)"; fi
for each; do
  if [ "$count" -gt 0 ]; then
    count=$((count - 1))
    case $(dpkg-query -W -f '\${db:Status-Abbrev}' "$each" 2>/dev/null) in ii*) echo "package $each" ;; esac
  elif [ -d "$each" ]; then echo "folder $each"; fi
done
[ ! -e "$drop_in" ] || echo "drop-in $(base64 -w 0 "$drop_in")"
[ ! -e "$upgrades" ] || echo "upgrades $(base64 -w 0 "$upgrades")"
! systemctl is-enabled --quiet haproxy 2>/dev/null || echo enabled
! systemctl is-active --quiet haproxy 2>/dev/null || echo active
if [ -e "$config" ]; then
  shipped=$(dpkg-query -W -f '\${Conffiles}' haproxy 2>/dev/null | sed -n 's|^ /etc/haproxy/haproxy.cfg ||p')
  if grep -q '^# bascule project=' "$config"; then echo 'configuration of Bascule'
  elif [ "$(md5sum <"$config")" = "$shipped  -" ]; then echo 'configuration of the distribution'
  else echo 'configuration of somebody else'; fi
fi
echo end`;

const configurationSchema = z.enum(['none', 'of the distribution', 'of Bascule', 'of somebody else']).catch('none');

/** What there is in the edge's instance. Throws `incus-refused` where not all of it arrives, and those of `Host.run`. */
export async function lookInside(
  host: Host,
  { packages, folders, files: of, place }: ProvisionWanted,
): Promise<FoundInside> {
  const places = [of.config, files.dropIn, files.upgrades, String(packages.length)];
  const { stdout, stderr } = await host.run(['sh', '-c', looker, 'look', ...places, ...packages, ...folders], {
    timeoutMs: lookMs,
  });
  // A short answer may get lost in Incus: nothing is taken for missing by that.
  if (!/^end$/m.test(stdout)) {
    const reason = stderr.trim() || 'what was found did not arrive';
    throw new BasculeError('incus-refused', { ...inFull(place), what: 'to look into it', reason });
  }
  const lines = stdout.split('\n').map((line) => /^(\S+) ?(.*)$/.exec(line) ?? []);
  const all = (key: string) => lines.flatMap(([, found, value = '']) => (found === key ? [value] : []));
  const file = (key: string) => Buffer.from(all(key)[0] ?? '', 'base64').toString();
  return {
    system: all('system')[0] ?? null,
    packages: all('package'),
    folders: all('folder'),
    upgrades: file('upgrades'),
    dropIn: file('drop-in'),
    isServiceEnabled: all('enabled').length > 0,
    isServiceActive: all('active').length > 0,
    configuration: configurationSchema.parse(all('configuration')[0]),
  };
}

/** One that was killed has dpkg say "dpkg was interrupted" until that was seen to. */
const installer = `
export DEBIAN_FRONTEND=noninteractive
options='-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3'
command -v apt-get >/dev/null || { echo 'it has no apt-get' >&2; exit 1; }
dpkg --configure -a && apt-get -q $options update &&
  apt-get -q -y $options install --no-install-recommends "$@"`;

/** Installs packages of the distribution. Throws `packages-not-installed`, and those of `Host.run`. */
export async function installPackages(host: Host, packages: readonly string[], signal: AbortSignal): Promise<void> {
  const result = await host.run(['sh', '-c', `{ ${installer}\n} 2>&1`, 'install', ...packages], {
    timeoutMs: installMs,
    signal,
  });
  if (result.exitCode === 0) return;
  throw new BasculeError('packages-not-installed', { host: host.name, packages, output: lastLines(result.stdout) });
}

/** Has upgrades made as bascule.yaml says. */
export async function writeUpgrades(host: Host, wanted: ProvisionWanted): Promise<void> {
  await putFile(host, files.upgrades, wantedUpgrades(wanted));
}

/** Makes folders; what is private in them is their owner's matter. */
export async function makeFolders(host: Host, { folders, files: of }: ProvisionWanted): Promise<void> {
  const script =
    'private=$1; shift; for each; do [ "$each" != "$private" ] || umask 077; mkdir -p "$each"; umask 022; done';
  await must(host, ['sh', '-c', `set -e; ${script}`, 'folders', of.certificates, ...folders]);
}

/** HAProxy does not start without a file: until bascule.yaml is in force it is that of the distribution. */
const starter = `
config=$1 restart=$2
set -e
[ -e "$config" ] || { mkdir -p "$(dirname "$config")"; cp /etc/haproxy/haproxy.cfg "$config"; }
systemctl daemon-reload
systemctl enable --quiet haproxy
if [ "$restart" = yes ]; then systemctl restart haproxy; else systemctl start haproxy; fi`;

/** Has HAProxy's service run the edge's files. Throws `service-not-started`, and those of `Host.run`. */
export async function startService(host: Host, wanted: ProvisionWanted, { dropIn }: FoundInside): Promise<void> {
  const isDropInRight = dropIn === wantedDropIn(wanted);
  if (!isDropInRight) await putFile(host, files.dropIn, wantedDropIn(wanted));
  const restart = isDropInRight ? 'no' : 'yes';
  const { config } = wanted.files;
  const result = await host.run(['sh', '-c', `{ ${starter}\n} 2>&1`, 'start', config, restart], {
    timeoutMs: serviceMs,
  });
  if (result.exitCode === 0) return;
  throw new BasculeError('service-not-started', { host: host.name, output: lastLines(result.stdout) });
}

/** Others than root read what apt and systemd are told. */
async function putFile(host: Host, file: string, content: string): Promise<void> {
  if (content === '') return await host.remove(file);
  await host.writePrivately(file, content);
  await must(host, ['sh', '-c', 'chmod 644 "$1"; chmod 755 "$(dirname "$1")"', 'open', file]);
}

async function must(host: Host, argv: readonly [string, ...string[]]): Promise<RunResult> {
  const result = await host.run(argv, { timeoutMs: lookMs });
  if (result.exitCode === 0) return result;
  throw new BasculeError('file-not-writable', { file: argv.at(-1) ?? '', reason: result.stderr });
}

const lastLines = (output: string): string => output.trimEnd().split('\n').slice(-10).join('\n');
