import { pathToFileURL } from 'node:url';
import { mayCarryToken } from '../domain/token-origin.js';

const placeholder = /\{([a-z]*)\}/g;

/** What is wrong with `artifacts.url` or `artifacts.checksum`, or null. `{url}` may begin a checksum's URL only. */
export function artifactUrlProblem(kind: 'url' | 'checksum', url: string): string | null {
  const names = kind === 'url' ? ['component', 'environment', 'sha'] : ['url', 'component', 'environment', 'sha'];
  const unknown = [...url.matchAll(placeholder)].find(([, name = '']) => !names.includes(name));
  if (unknown || /[{}]/.test(url.replaceAll(placeholder, ''))) {
    return `expected no other placeholder than ${names.map((name) => `{${name}}`).join(', ')}`;
  }
  if (kind === 'url' && !url.includes('{sha}')) return 'expected {sha} in it: each release has its own URL';
  if (url.lastIndexOf('{url}') > 0) return 'expected {url} only at its beginning';
  return url.startsWith('{url}') ? null : locationProblem(url.replaceAll(placeholder, 'x'));
}

/** Whether a token may be sent to `artifacts.url`, which is right in itself. None is sent for a file. */
export function mayTakeToken(url: string): boolean {
  return !url.startsWith('http:') || mayCarryToken(new URL(url.replaceAll(placeholder, 'x')));
}

/** `file:` URLs absolute, with their placeholders; a relative one is in `folder`. All others as they are. */
export function absoluteArtifactUrl(url: string, folder: string): string {
  if (!url.startsWith('file:')) return url;
  const { href } = new URL(url, pathToFileURL(`${folder}/`));
  return href.replaceAll('%7B', '{').replaceAll('%7D', '}');
}

function locationProblem(url: string): string | null {
  if (!/^(?:file|https?):/.test(url)) return 'expected a URL that begins with file:, http: or https:';
  if (url.startsWith('file:')) {
    if (/[?]/.test(url) || /%2f/i.test(url) || /^file:\/\/[^/]/.test(url)) {
      return 'expected a path after file:, such as file:./artifacts/{sha}.tar.gz or file:///srv/artifacts/{sha}.tar.gz';
    }
    return URL.canParse(url, 'file:///') ? null : 'expected a valid file: URL';
  }
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url)) return 'expected a valid URL with a host name';
  const { username, password } = new URL(url);
  return username || password ? 'expected no user or password in it: name a secret as artifacts.token' : null;
}
