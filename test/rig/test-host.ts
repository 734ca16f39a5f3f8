import { access, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { BindAddress } from '../../src/domain/configuration.js';
import type { Destination, Host, HostProcess, Listener, RunOptions, RunResult } from '../../src/hosts/host.js';
import { IncusHost } from '../../src/hosts/incus.js';
import { LocalHost } from '../../src/hosts/local.js';

/** Where the tests' edges are: on this machine, or in an instance of Incus that has this machine's /tmp. */
export interface TestPlace {
  readonly host: Host;
  /** At which an edge may listen, and be visited. */
  readonly address: string;
  /** Of this machine, by which the edge reaches its instances; null where each may have a loopback address of its own. */
  readonly instances: string | null;
}

const places: TestPlace[] = [];

/** From now on the tests of this file have their edges there. */
export function placeEdges(place: {
  readonly instance: string;
  readonly address: string;
  readonly bridge: string;
}): void {
  const { instance, address, bridge } = place;
  places.splice(0, 1, { host: new IncusHost({ instance }), address, instances: bridge });
}

export const testPlace = (): TestPlace => places[0] ?? { host: new LocalHost(), address: '127.0.0.1', instances: null };

/** The tests' host, of which a test may change what it does. */
export class ChangedHost implements Host {
  protected readonly inner = testPlace().host;

  get name(): string {
    return this.inner.name;
  }

  async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    return await this.inner.run(argv, options);
  }

  readText(path: string): Promise<string | null> {
    return this.inner.readText(path);
  }

  readState(path: string): Promise<string | null> {
    return this.inner.readState(path);
  }

  readFolder(path: string): Promise<readonly string[]> {
    return this.inner.readFolder(path);
  }

  writePrivately(path: string, text: string): Promise<void> {
    return this.inner.writePrivately(path, text);
  }

  createPrivately(path: string, text: string): Promise<void> {
    return this.inner.createPrivately(path, text);
  }

  remove(path: string): Promise<void> {
    return this.inner.remove(path);
  }

  whyNotWritable(folder: string): Promise<string | null> {
    return this.inner.whyNotWritable(folder);
  }

  isAddressFree(bind: BindAddress): Promise<boolean> {
    return this.inner.isAddressFree(bind);
  }

  listenersAt(bind: BindAddress): Promise<readonly Listener[]> {
    return this.inner.listenersAt(bind);
  }

  connect(to: Destination): Duplex {
    return this.inner.connect(to);
  }

  processesOf(directory: string): Promise<readonly HostProcess[]> {
    return this.inner.processesOf(directory);
  }
}

/** A host that has these programs and, beside those of /usr/sbin, no other. */
export class BareHost extends ChangedHost {
  private folder: string | null = null;

  constructor(private readonly programs: readonly string[]) {
    super();
  }

  async dispose(): Promise<void> {
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }

  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    this.folder ??= await linkAll(this.programs);
    return await super.run(argv, { ...options, env: { PATH: this.folder } });
  }
}

async function linkAll(programs: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-bare-'));
  for (const program of programs) await symlink(await find(program), join(folder, program));
  return folder;
}

async function find(program: string): Promise<string> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(folder, program);
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  throw new Error(`${program} is not on the PATH`);
}
