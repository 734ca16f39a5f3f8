/** What a release's artifact is of. */
export interface ArtifactNames {
  readonly component: string;
  readonly environment: string;
  readonly sha: string;
}

/** The URL of a component's artifact: the configured one with `{component}`, `{environment}` and `{sha}` filled in. */
export function artifactUrl(template: string, names: ArtifactNames): string {
  return template.replaceAll(/\{(component|environment|sha)\}/g, (_, name: keyof ArtifactNames) => names[name]);
}

/** The URL of its checksum file, where `{url}` is that of the artifact. */
export function checksumUrl(template: string, names: ArtifactNames & { url: string }): string {
  return artifactUrl(template, names).replaceAll('{url}', () => names.url);
}

/** A URL as messages and Temporal get it: its query may hold a secret. */
export const shownUrl = (url: string): string => url.replace(/\?.*$/s, '?…');

/**
 * The SHA-256 in a checksum file, in lower case: 64 hexadecimal digits alone, or lines as `sha256sum` prints them, of
 * which the one for `fileName` counts where there are several. Null where there is none.
 */
export function parseChecksum(text: string, fileName: string): string | null {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const sums = lines.map((line) => /^\\?([0-9a-f]{64})(?: [ *](.+)|\s*)$/i.exec(line));
  const [only] = sums;
  if (sums.length === 1) return only?.[1]?.toLowerCase() ?? null;
  const named = sums.find((sum) => sum?.[2]?.split('/').at(-1) === fileName);
  return named?.[1]?.toLowerCase() ?? null;
}
