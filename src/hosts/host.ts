import type { Duplex } from 'node:stream';
import type { BindAddress } from '../domain/configuration.js';

export interface RunOptions {
  /** All of the command's stdin. */
  readonly input?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Added to the environment that commands have there. */
  readonly env?: Readonly<Record<string, string>>;
  /** Called once the command runs; its input may not have reached it yet. */
  readonly onStarted?: () => void;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process as proc(5) shows it. */
export interface HostProcess {
  readonly pid: number;
  readonly parent: number;
  /** The process that its session began with. */
  readonly session: number;
  /** Who runs it. */
  readonly uid: number;
  readonly name: string;
  /** The file that it runs; empty where that is not shown to this user. */
  readonly program: string;
  readonly commandLine: readonly string[];
  /** Empty where it is not shown to this user. */
  readonly folder: string;
  /** How long it has run, in ms, to a hundredth of a second. */
  readonly ageMs: number;
}

/** A TCP socket that waits for connections, as the kernel lists it. */
export interface ListeningSocket {
  /** For a person: 0.0.0.0 and :: are every address. */
  readonly address: string;
  readonly port: number;
  readonly isEveryAddress: boolean;
  readonly inode: string;
}

/** The same with its program: null where it can't be seen whose it is. */
export interface Listener extends ListeningSocket {
  readonly process: HostProcess | null;
}

/** A Unix socket, or an address at which a program listens; `*` is each address of the host. */
export type Destination = { readonly path: string } | BindAddress;

/** A machine or a container, as a place where commands run and files lie. */
export interface Host {
  /** For a person. */
  readonly name: string;

  /**
   * Runs a command without a shell and answers its exit code, whatever it is. A command that was started is not ended
   * when this process dies, nor by Ctrl-C. Where it takes too long all of it is ended, what it started as well, unless
   * that made itself the leader of another process group.
   * Throws `command-not-found`, `command-timed-out`, and `command-ended` where a signal ended it.
   */
  run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult>;

  /** The text of a file, or null where there is none. */
  readText(path: string): Promise<string | null>;

  /** As `readText`, for a file that Bascule itself writes. Throws `state-file-is-link` where it is a symbolic link. */
  readState(path: string): Promise<string | null>;

  /** Names of what lies in a folder; none where there is no such folder, or a file in its place. */
  readFolder(path: string): Promise<readonly string[]>;

  /** Writes a file that nobody else may read, and its folder: all of it, or nothing. Throws `file-not-writable`. */
  writePrivately(path: string, text: string): Promise<void>;

  /** As `writePrivately`, unless the file is there already: whoever is first wins. */
  createPrivately(path: string, text: string): Promise<void>;

  /** Removes a file, or a folder with all that lies in it; done where there is none. Throws `file-not-writable`. */
  remove(path: string): Promise<void>;

  /** Why nothing can be written into a folder, by the system's word; null where it can, or where there is none yet. */
  whyNotWritable(folder: string): Promise<string | null>;

  /** Whether a program could listen there now. Throws `address-unusable`. */
  isAddressFree(bind: BindAddress): Promise<boolean>;

  /** What listens there by now, on that address or on every one; its process is null where it can't be seen from here. */
  listenersAt(bind: BindAddress): Promise<readonly Listener[]>;

  /**
   * A connection as a program of that host would make it, which emits `ready` when there is one. That nobody answers is an
   * error of the stream.
   */
  connect(to: Destination): Duplex;

  /**
   * Every process that runs in a folder, and every one of this user's or of root's that names a file of it; none that has
   * ended and waits for its parent. Anybody may name a file.
   */
  processesOf(directory: string): Promise<readonly HostProcess[]>;
}
