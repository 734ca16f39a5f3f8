import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from 'tar';

const server = fileURLToPath(new URL('../../examples/app/server.mjs', import.meta.url));

export interface Release {
  /** The folder that holds `artifacts/`: where the bascule.yaml with `file:./artifacts/…` lies. */
  readonly directory: string;
  readonly component: string;
  readonly sha: string;
  /** More files at the archive's root, by their path; a script may be run. */
  readonly files?: Readonly<Record<string, string>>;
  /** Its health path answers 500. */
  readonly unhealthy?: boolean;
  /** It ends as soon as it is started. */
  readonly crash?: boolean;
}

/**
 * Builds a release of the demo service at `artifacts/<component>/<sha>/<component>-<sha>.tar.gz`, with its checksum
 * beside it as `sha256sum` prints it. Each release has content, and so a checksum, of its own.
 */
export async function makeRelease(release: Release): Promise<{ archive: string; sha256: string }> {
  const { component, sha } = release;
  const archive = join(release.directory, 'artifacts', component, sha, `${component}-${sha}.tar.gz`);
  const content = await mkdtemp(join(tmpdir(), 'bascule-release-'));
  try {
    await copyFile(server, join(content, 'server.mjs'));
    for (const [path, text] of Object.entries(filesOf(release))) {
      await mkdir(dirname(join(content, path)), { recursive: true });
      await writeFile(join(content, path), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
    }
    await mkdir(dirname(archive), { recursive: true });
    await create({ cwd: content, file: archive, gzip: true, portable: true }, ['.']);
  } finally {
    await rm(content, { recursive: true, force: true });
  }
  const sha256 = createHash('sha256')
    .update(await readFile(archive))
    .digest('hex');
  await writeFile(`${archive}.sha256`, `${sha256}  ${component}-${sha}.tar.gz\n`);
  return { archive, sha256 };
}

function filesOf(release: Release): Record<string, string> {
  const files: Record<string, string> = {
    'release.json': `${JSON.stringify({ component: release.component, sha: release.sha })}\n`,
  };
  if (release.unhealthy) files.unhealthy = '';
  if (release.crash) files.crash = '';
  return { ...files, ...release.files };
}
