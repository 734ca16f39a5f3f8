import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { temporalServerArguments } from '../src/temporal-server.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const ownTemporal = join(root, '.tools/bin/temporal');
const readyWithinMs = 60_000;

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A project in a folder of its own, with Temporal and a worker of its own, used by its commands alone. */
export class DemoProject {
  #worker: ChildProcess | null = null;
  #temporal: ChildProcess | null = null;

  private constructor(
    readonly folder: string,
    readonly port: number,
    readonly temporalAddress: string,
    /** The program; another one where another build is compared. */
    readonly program: string,
  ) {}

  /** examples/local.yaml on free ports, changed by `configure`; nothing runs yet. */
  static async create(
    configure: (yaml: string) => string = (yaml) => yaml,
    program = join(root, 'dist/bascule'),
  ): Promise<DemoProject> {
    const folder = await mkdtemp(join(tmpdir(), 'bascule-demo-'));
    const port = await freePort();
    const yaml = await readFile(join(root, 'examples/local.yaml'), 'utf8');
    const own = yaml
      .replace('127.0.0.1:8088', `127.0.0.1:${port}`)
      .replace('127.77.0.0/16', `127.${100 + (process.pid % 100)}.${port % 250}.0/24`);
    await writeFile(join(folder, 'bascule.yaml'), configure(own));
    return new DemoProject(folder, port, `127.0.0.1:${await freePort()}`, program);
  }

  get env(): Record<string, string> {
    return { TEMPORAL_ADDRESS: this.temporalAddress, NO_COLOR: '1' };
  }

  get workerPid(): number {
    return this.#worker?.pid ?? 0;
  }

  async startTemporal(): Promise<void> {
    const { port } = new URL(`http://${this.temporalAddress}`);
    const dbFile = join(this.folder, 'temporal.db');
    const args = temporalServerArguments({ port: Number(port), ui: null, dbFile });
    const log = openSync(join(this.folder, 'temporal.log'), 'a');
    this.#temporal = spawn(await temporalProgram(), args, { stdio: ['ignore', log, log], detached: true });
    await this.#until('Temporal serves', async () => {
      const asked = ['operator', 'search-attribute', 'list', '--address', this.temporalAddress];
      return (await execa(await temporalProgram(), asked, { reject: false })).stdout.includes('BasculeOutcome');
    });
  }

  /** Returns when it takes operations. */
  async startWorker(): Promise<void> {
    const log = join(this.folder, 'worker.log');
    const before = existsSync(log) ? (await readFile(log, 'utf8')).length : 0;
    const file = openSync(log, 'a');
    this.#worker = spawn(this.program, ['worker'], {
      ...{ cwd: this.folder, env: { ...process.env, ...this.env }, detached: true },
      stdio: ['ignore', file, file],
    });
    await this.#until('the worker runs', async () =>
      (await readFile(log, 'utf8')).slice(before).includes('"state":"RUNNING"'),
    );
  }

  /** SIGKILL; waits until it is gone. */
  async killWorker(): Promise<void> {
    await end(this.#worker);
  }

  /** Runs a command to its end; `onLine` is told each line of its progress. */
  async bascule(args: readonly string[], onLine: (line: string) => void = () => undefined): Promise<Ended> {
    const command = execa(this.program, args, { cwd: this.folder, env: this.env, reject: false, stdin: 'ignore' });
    const read = (async () => {
      for await (const line of command.iterable({ from: 'stderr' })) onLine(line);
    })();
    const [{ exitCode = -1, stdout, stderr }] = await Promise.all([command, read]);
    return { exitCode, stdout, stderr };
  }

  /** The same for a command that has to succeed; its document where it is asked for `--json`. */
  async must<T = unknown>(...args: readonly string[]): Promise<T> {
    const { exitCode, stdout, stderr } = await this.bascule(args);
    if (exitCode !== 0) throw new Error(`bascule ${args.join(' ')} exited with ${exitCode}: ${stdout}\n${stderr}`);
    return (args.includes('--json') ? JSON.parse(stdout) : null) as T;
  }

  /** A release of the demo service for both components; a broken one answers its health path with 500. */
  async release(sha: string, { isBroken = false } = {}): Promise<void> {
    const content = await mkdtemp(join(this.folder, 'release-'));
    await copyFile(join(root, 'examples/app/server.mjs'), join(content, 'server.mjs'));
    await writeFile(join(content, 'release.json'), `${JSON.stringify({ sha })}\n`);
    if (isBroken) await writeFile(join(content, 'unhealthy'), '');
    for (const component of ['api', 'web']) {
      const folder = join(this.folder, 'artifacts', component, sha);
      const archive = `${component}-${sha}.tar.gz`;
      await mkdir(folder, { recursive: true });
      await execa('tar', ['-czf', archive, '-C', content, '.'], { cwd: folder });
      const { stdout } = await execa('sha256sum', [archive], { cwd: folder });
      await writeFile(join(folder, `${archive}.sha256`), `${stdout}\n`);
    }
    await rm(content, { recursive: true });
  }

  /** Ends edge, instances, worker and Temporal, and removes the folder. */
  async stop(): Promise<void> {
    await this.killWorker();
    // What it ends is on record in the project's folder.
    await this.bascule(['dev', '--stop']);
    await end(this.#temporal);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Lets this process end while all goes on. */
  leaveRunning(): void {
    this.#worker?.unref();
    this.#temporal?.unref();
  }

  async #until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + readyWithinMs;
    while (!(await isSo())) {
      if (Date.now() > deadline) throw new Error(`${what} is waited for in vain; its log is in ${this.folder}`);
      await sleep(50);
    }
  }
}

/** Temporal's CLI as script/setup installed it, else the one of PATH. */
export const temporalProgram = async (): Promise<string> => (existsSync(ownTemporal) ? ownTemporal : 'temporal');

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}

async function end(child: ChildProcess | null): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}
