import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './chaos.js';

/** An act of templates/edge-host.sh or templates/instance-host.sh. */
export interface ActName {
  /** `edge`, or the name of an instance. */
  readonly place: string;
  /** As the script names it; a signal with its own name: `signal-TERM`. */
  readonly act: string;
}

/** Whether an act waits before it begins, or when it has done its work and its worker was not told yet. */
export type Moment = 'before' | 'after';

/** A shell for a worker's PATH that can stop single acts on their way, each once. */
export interface Acts {
  /** With the shell in `bin`, and where it is told what to do. */
  readonly folder: string;
  /** PATH with that shell in front. */
  readonly path: string;
  /** The next such act waits; later ones do not. */
  hold(name: ActName, moment: Moment): Promise<void>;
  /** Waits until it waits. */
  reached(name: ActName): Promise<void>;
  /** Lets it go on, and answers its exit code when it has ended. */
  goOn(name: ActName): Promise<number>;
  /** Nothing waits any more, nor will. */
  letAllGo(): Promise<void>;
  /** The next such act fails before it begins; later ones do not. */
  fail(name: ActName): Promise<void>;
  /** Waits until it has failed. */
  failed(name: ActName): Promise<void>;
  dispose(): Promise<void>;
}

const kinds = ['hold', 'input', 'reached', 'go', 'code', 'fail'] as const;

export async function holdActs(): Promise<Acts> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-acts-'));
  for (const each of ['bin', ...kinds]) await mkdir(join(folder, each));
  // Where acts run in a container its root is another user here.
  for (const each of ['.', ...kinds]) await chmod(join(folder, each), 0o777);
  await writeFile(join(folder, 'bin', 'sh'), shellText(folder), { mode: 0o755 });
  const file = (kind: (typeof kinds)[number], { place, act }: ActName) => join(folder, kind, `${place}.${act}`);
  const untilThere = async (path: string, isThere = true) =>
    void (await until(`${path} is ${isThere ? 'there' : 'gone'}`, async () => existsSync(path) === isThere));
  return {
    folder,
    path: `${join(folder, 'bin')}:${process.env.PATH}`,
    async hold(name, moment) {
      for (const kind of ['reached', 'go', 'code'] as const) await rm(file(kind, name), { force: true });
      await writeFile(file('hold', name), moment);
    },
    reached: (name) => untilThere(file('reached', name)),
    async goOn(name) {
      await writeFile(file('go', name), '');
      await untilThere(file('code', name));
      return Number(await readFile(file('code', name), 'utf8'));
    },
    async letAllGo() {
      for (const name of await readdir(join(folder, 'hold'))) await rm(join(folder, 'hold', name), { force: true });
      for (const name of await readdir(join(folder, 'reached'))) await writeFile(join(folder, 'go', name), '');
    },
    fail: (name) => writeFile(file('fail', name), ''),
    failed: (name) => untilThere(file('fail', name), false),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
}

/**
 * Whoever takes the file away holds the act, so that its next try runs through. An act that is held has all of its input:
 * it does not need its worker any more.
 */
const shellText = (folder: string): string => `#!/bin/sh
folder='${folder}'
case "\${3:-}" in
  edge-host) name=edge.$4 ;;
  instance-host) name=\${5##*/}.$4 ;;
  *) exec /bin/sh "$@" ;;
esac
[ "$4" != signal ] || name=$name-$9
! rm "$folder/fail/$name" 2>/dev/null || exit 77
moment=$(cat "$folder/hold/$name" 2>/dev/null) &&
  mv "$folder/hold/$name" "$folder/reached/$name.taken" 2>/dev/null ||
  exec /bin/sh "$@"
wait_to_go_on() {
  mv "$folder/reached/$name.taken" "$folder/reached/$name"
  until [ -e "$folder/go/$name" ]; do sleep 0.05; done
}
cat >"$folder/input/$name"
[ "$moment" = after ] || wait_to_go_on
code=0
/bin/sh "$@" <"$folder/input/$name" || code=$?
[ "$moment" = before ] || wait_to_go_on
echo "$code" >"$folder/code/$name.partial"
mv "$folder/code/$name.partial" "$folder/code/$name"
exit "$code"
`;
