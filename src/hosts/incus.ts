import { createHash, randomUUID } from 'node:crypto';
import { Duplex, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { isEveryAddress } from '../domain/addresses.js';
import type { BindAddress } from '../domain/configuration.js';
import { type IncusPlace, inFull } from '../domain/incus-place.js';
import { BasculeError, isBasculeError } from '../errors.js';
import type { Destination, Host, HostProcess, Listener, RunOptions, RunResult } from './host.js';
import { IncusClient, type IncusProcess } from './incus-client.js';
import { overlaps, parseListeners } from './listeners.js';
import { isOf, parseProcess } from './processes.js';

/** Longer than a command takes that only looks. */
const lookMs = 15_000;
const writeMs = 30_000;
/** What was told to end has a second for it there. */
const endMs = 10_000;

/**
 * Says the command's process id first, on stderr; `-` where there is no such program. In a session of its own it is not
 * ended where the daemon notices that this process has died, and can be ended with all that it started.
 */
const launcher = `
command -v -- "$1" >/dev/null || { echo - >&2; exit 127; }
echo "$$" >&2
exec "$@"`;

const ender = `
kill -TERM "$1" 2>/dev/null
tries=0
while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 50 ]; do
  sleep 0.02
  tries=$((tries + 1))
done
kill -KILL "-$1" 2>/dev/null || :`;

/** Where its sender was killed meanwhile the text is not whole, and gets no name. */
const writer = (put: string): string => `
umask 077
file=$1 partial=$2 digest=$3
set -e
mkdir -p "$(dirname "$file")"
trap 'rm -f "$partial"' EXIT
cat >"$partial"
[ "$(sha256sum <"$partial")" = "$digest  -" ] || { echo 'it did not arrive whole' >&2; exit 1; }
sync "$partial"
${put}
sync "$(dirname "$file")"`;

/** Relays stdin and stdout: to a path, or to an address and a port. */
const relay = `
if command -v socat >/dev/null; then
  case $2 in
    '') exec socat -t 60 - "UNIX-CONNECT:$1" ;;
    *) exec socat -t 60 - "TCP4:$1:$2" ;;
  esac
fi
exec perl -MSocket -e '
  my ($place, $port) = @ARGV;
  if ($port) {
    socket(my $to, PF_INET, SOCK_STREAM, 0) && connect($to, pack_sockaddr_in($port, inet_aton($place))) or die "$!\\n";
    *TO = $to;
  } else {
    socket(my $to, PF_UNIX, SOCK_STREAM, 0) && connect($to, pack_sockaddr_un($place)) or die "$!\\n";
    *TO = $to;
  }
  my $reader = fork();
  if (!$reader) {
    while (sysread(TO, my $read, 65536)) { syswrite(STDOUT, $read); }
    exit 0;
  }
  while (sysread(STDIN, my $read, 65536)) { syswrite(TO, $read); }
  shutdown(TO, 1);
  waitpid($reader, 0);
' "$@"`;

/** For each process its files as proc(5) has them, apart by bytes that are in none of them. */
const processLister = `
cat /proc/uptime
for process in /proc/[0-9]*; do
  folder=$(readlink "$process/cwd" 2>/dev/null) || continue
  printf '\\002%s\\001%s\\001' "$folder" "$(readlink "$process/exe" 2>/dev/null)"
  cat "$process/stat" 2>/dev/null
  printf '\\001'
  grep ^Uid: "$process/status" 2>/dev/null
  printf '\\001'
  cat "$process/cmdline" 2>/dev/null
done
exit 0`;

/** An instance of Incus, whose commands run as root. */
export class IncusHost implements Host {
  readonly name: string;
  readonly client: IncusClient;

  constructor(private readonly at: IncusPlace) {
    const { instance, project, remote } = inFull(at);
    this.name = `${remote}:${instance} (project ${project})`;
    this.client = new IncusClient(at);
  }

  async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    const [program] = argv;
    options.signal?.throwIfAborted();
    const ended = new AbortController();
    const limit = AbortSignal.any([ended.signal, ...(options.signal ? [options.signal] : [])]);
    let pid: number | null = null;
    const running = this.launch(argv, options, (started) => {
      pid = started;
    });
    const stopped = sleep(options.timeoutMs, 'too long' as const, { signal: limit }).catch(() => 'cancelled' as const);
    try {
      const result = await Promise.race([running, stopped]);
      if (typeof result === 'object') return result;
      // Who ended in the same moment has ended.
      running.catch(() => undefined);
      if (pid !== null) await this.end(pid);
      options.signal?.throwIfAborted();
      throw new BasculeError('command-timed-out', { host: this.name, program, timeoutMs: options.timeoutMs });
    } finally {
      ended.abort();
    }
  }

  async readText(path: string): Promise<string | null> {
    if (path.startsWith('/proc/')) return await this.readByCommand(path);
    const file = await this.client.readFile(path);
    if (file?.type === 'symlink') return await this.readByCommand(path);
    return this.contentOf(path, file);
  }

  async readState(path: string): Promise<string | null> {
    const file = await this.client.readFile(path);
    if (file?.type === 'symlink') throw new BasculeError('state-file-is-link', { host: this.name, file: path });
    return this.contentOf(path, file);
  }

  async readFolder(path: string): Promise<readonly string[]> {
    const { exitCode, stdout } = await this.look('[ -d "$1" ] || exit 1; ls -A -- "$1"', path);
    return exitCode === 0 ? stdout.split('\n').filter((name) => name !== '') : [];
  }

  async writePrivately(path: string, text: string): Promise<void> {
    await this.place(path, text, 'mv -f "$partial" "$file"');
  }

  async createPrivately(path: string, text: string): Promise<void> {
    await this.place(path, text, 'ln "$partial" "$file" 2>/dev/null || [ -e "$file" ]\nrm "$partial"');
  }

  async remove(path: string): Promise<void> {
    await this.write(path, ['sh', '-c', 'rm -rf -- "$1"', 'remove', path]);
  }

  async whyNotWritable(folder: string): Promise<string | null> {
    // Only where it cannot be, so that nothing is written.
    const script = '[ -e "$1" ] && ! [ -w "$1" ] || exit 0; mktemp -d "$1/.bascule-XXXXXX"';
    const { exitCode, stdout, stderr } = await this.look(script, folder);
    if (exitCode !== 0) return stderr.trim();
    if (stdout !== '') await this.look('rmdir "$1"', stdout.trim());
    return null;
  }

  async isAddressFree(bind: BindAddress): Promise<boolean> {
    if ((await this.listenersAt(bind)).length > 0) return false;
    if (isEveryAddress(bind) || bind.address.startsWith('127.')) return true;
    if ((await this.client.addresses()).includes(bind.address)) return true;
    throw new BasculeError('address-unusable', { host: this.name, ...bind, reason: 'it has no such address' });
  }

  async listenersAt(bind: BindAddress): Promise<readonly Listener[]> {
    const { stdout } = await this.look('cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :');
    return parseListeners(stdout)
      .filter((one) => overlaps(one, bind))
      .map((one) => ({ ...one, process: null }));
  }

  connect(to: Destination): Duplex {
    const args = 'path' in to ? [to.path, ''] : [to.address === '*' ? '127.0.0.1' : to.address, String(to.port)];
    return relayed(() => this.client.exec(['sh', '-c', relay, 'relay', ...args]));
  }

  async processesOf(directory: string): Promise<readonly HostProcess[]> {
    const { stdout } = await this.look(processLister);
    const [uptime = '', ...entries] = stdout.split('\u0002');
    return (
      entries
        .map((entry) => {
          const [folder = '', program = '', stat = '', status = '', commandLine = ''] = entry.split('\u0001');
          return parseProcess({ stat, status, commandLine, folder, program, uptime });
        })
        // Commands run as root there.
        .filter((process) => isOf(process, directory, 0))
    );
  }

  private async launch(argv: readonly string[], options: RunOptions, onPid: (pid: number) => void): Promise<RunResult> {
    const [program = ''] = argv;
    const wrapped = ['setsid', '--fork', '--wait', 'sh', '-c', launcher, 'launch', ...argv];
    const process = await this.client.exec(wrapped, options.env);
    const said = readSaid(process, (first) => {
      if (first === '-') return;
      onPid(Number(first));
      options.onStarted?.();
    });
    process.stdin.on('error', () => undefined);
    process.stdin.end(options.input ?? '');
    const [stdout, stderr, exitCode] = await Promise.all([text(process.stdout), said, process.exitCode]);
    process.stdin.destroy();
    const [first, ...lines] = withoutFinalNewline(stderr).split('\n');
    if (first === '-') throw new BasculeError('command-not-found', { host: this.name, program });
    const how = /^setsid: child \d+ did not exit normally/m.test(stderr);
    if (how) throw new BasculeError('command-ended', { host: this.name, program, how: `by signal ${exitCode}` });
    return { exitCode, stdout: withoutFinalNewline(stdout), stderr: lines.join('\n') };
  }

  /** Ends a command and all that it started. */
  private async end(pid: number): Promise<void> {
    const ending = this.client.exec(['sh', '-c', ender, 'end', String(pid)]);
    await Promise.race([ending.then(({ exitCode }) => exitCode), sleep(endMs)]).catch((error: unknown) => {
      if (!isBasculeError(error)) throw error;
    });
  }

  /** `put` gives the whole and durable `$partial` its name. */
  private async place(file: string, text: string, put: string): Promise<void> {
    const script = writer(put);
    const digest = createHash('sha256').update(text).digest('hex');
    await this.write(file, ['sh', '-c', script, 'write', file, `${file}.${randomUUID()}.partial`, digest], text);
  }

  private async write(file: string, argv: readonly [string, ...string[]], input = ''): Promise<void> {
    const { exitCode, stderr } = await this.run(argv, { timeoutMs: writeMs, input });
    if (exitCode !== 0)
      throw new BasculeError('file-not-writable', { file, reason: stderr || `it ended with ${exitCode}` });
  }

  private async look(script: string, ...args: readonly string[]): Promise<RunResult> {
    return await this.run(['sh', '-c', script, 'look', ...args], { timeoutMs: lookMs });
  }

  private async readByCommand(path: string): Promise<string | null> {
    const { exitCode, stdout, stderr } = await this.look('[ -e "$1" ] || exit 3; cat -- "$1" && printf .', path);
    // A dot keeps the newline before it.
    if (exitCode === 0 && stdout.endsWith('.')) return stdout.slice(0, -1);
    // A process may end while it is looked at.
    if (exitCode === 3 || /No such (?:file|process)/.test(stderr)) return null;
    throw new BasculeError('incus-refused', {
      ...inFull(this.at),
      what: `to read ${path}`,
      reason: stderr.trim() || 'its content did not arrive',
    });
  }

  private contentOf(path: string, file: { readonly type: string; readonly content: Buffer } | null): string | null {
    if (file === null) return null;
    if (file.type === 'file') return file.content.toString('utf8');
    throw new BasculeError('incus-refused', { ...inFull(this.at), what: `to read ${path}`, reason: 'it is a folder' });
  }
}

const withoutFinalNewline = (output: string): string => output.replace(/\n$/, '');

/** All of stderr; its first line is told as soon as it is there. */
async function readSaid({ stderr }: IncusProcess, onFirstLine: (line: string) => void): Promise<string> {
  let said = '';
  let isTold = false;
  for await (const chunk of stderr.setEncoding('utf8') as Readable & AsyncIterable<string>) {
    said += chunk;
    const end = said.indexOf('\n');
    if (isTold || end === -1) continue;
    isTold = true;
    onFirstLine(said.slice(0, end));
  }
  return said;
}

/** The streams of a command that relays, as one; what it says on stderr is why nobody answers. */
function relayed(start: () => Promise<IncusProcess>): Duplex {
  const starting = start();
  let running: IncusProcess | null = null;
  const stream = new Duplex({
    write(chunk: Buffer, encoding, callback) {
      starting.then(({ stdin }) => stdin.write(chunk, encoding, callback), callback);
    },
    final(callback) {
      starting.then(({ stdin }) => stdin.end(callback), callback);
    },
    read() {
      running?.stdout.resume();
    },
    destroy(error, callback) {
      if (running) for (const each of [running.stdin, running.stdout, running.stderr]) each.destroy();
      callback(error);
    },
  });
  starting.then(
    (process) => {
      running = process;
      if (stream.destroyed) {
        stream.destroy();
        for (const each of [process.stdin, process.stdout, process.stderr]) each.destroy();
        return;
      }
      stream.emit('ready');
      process.stdin.on('error', () => undefined);
      const said = text(process.stderr).catch(() => '');
      process.stdout.on('data', (chunk: Buffer) => {
        if (!stream.push(chunk)) process.stdout.pause();
      });
      process.stdout.on('end', () => {
        process.exitCode.then(
          async (exitCode) => {
            if (exitCode === 0) stream.push(null);
            else stream.destroy(new Error(reasonOf(await said) || `its relay ended with ${exitCode}`));
          },
          (error: Error) => stream.destroy(error),
        );
      });
    },
    (error: Error) => stream.destroy(error),
  );
  return stream;
}

/** Of socat's last message what the system said. */
const reasonOf = (stderr: string): string => {
  const last = stderr.trimEnd().split('\n').at(-1) ?? '';
  return last.replace(/^.*? E /, '');
};
