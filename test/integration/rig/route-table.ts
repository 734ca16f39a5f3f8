/** One request and who answers it; the same rows stand in docs/routing.md. */
export interface RouteRow {
  /** What the visitor speaks; `http` and `https` are HTTP/1.1. */
  readonly over: 'http' | 'http/1.0' | 'https' | 'http/2';
  readonly method: string;
  /** The Host header as it was sent; null where there is none. */
  readonly host: string | null;
  /** The request target as it was sent. */
  readonly target: string;
  /** The HAProxy backend that answers, or a status with which the edge itself does (and where it redirects to). */
  readonly answer: string;
}

const cells: readonly (readonly [RouteRow['over'], string, string | null, string, string])[] = [
  // The routes of both environments.
  ['https', 'GET', 'veza.fr', '/', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/api/v1', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', '/api/v1/', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', '/api/v1/tracks?page=2', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', '/stream', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr', '/stream/x', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr', '/hls', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr', '/hls/1', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/1/a.m3u8', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/1/a.ts', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/1/a.m4s', 'prod_stream_pool'],
  ['https', 'GET', 'www.veza.fr', '/', 'prod_web_pool'],
  ['https', 'GET', 'www.veza.fr', '/api/v1/x', 'prod_backend_api'],
  ['https', 'GET', 'www.veza.fr', '/hls/1', 'prod_stream_pool'],
  ['https', 'GET', 'staging.veza.fr', '/', 'staging_web_pool'],
  ['https', 'GET', 'staging.veza.fr', '/api/v1/x', 'staging_backend_api'],
  ['https', 'GET', 'staging.veza.fr', '/stream', 'staging_stream_pool'],
  ['https', 'GET', 'staging.veza.fr', '/tracks/1/a.m3u8', 'staging_stream_pool'],
  ['http/2', 'GET', 'veza.fr', '/', 'prod_web_pool'],
  ['http/2', 'POST', 'veza.fr', '/api/v1/x', 'prod_backend_api'],
  ['http/2', 'GET', 'WWW.veza.fr:443', '/hls/1', 'prod_stream_pool'],
  ['http/2', 'GET', 'staging.veza.fr', '/api/v1/x', 'staging_backend_api'],

  // What looks like a route.
  ['https', 'GET', 'veza.fr', '/api/v1x', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/api/v2', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/api', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/API/v1/x', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '//api/v1', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/x/api/v1', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/api%2Fv1/x', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/x/../api/v1', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/api/v1/../../x', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', '/api/v1/..%2F..%2Fx', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', '/api/v1;x=1', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/?next=/api/v1', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/1?file=/a.m3u8', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/api/v1?x=/stream', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', '/streaming', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/hlsx', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/tracks', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/a.mp3', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/1/a.M3U8', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/tracks/1/a.m3u8/', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr', '/a.m3u8', 'prod_web_pool'],

  // Hosts that are the same, and hosts that are not.
  ['https', 'GET', 'Veza.FR', '/api/v1/x', 'prod_backend_api'],
  ['https', 'GET', 'VEZA.fr:443', '/', 'prod_web_pool'],
  ['https', 'GET', 'veza.fr:8443', '/hls/1', 'prod_stream_pool'],
  ['https', 'GET', 'veza.fr.', '/', 'prod_web_pool'],
  ['https', 'GET', 'Staging.Veza.fr.:443', '/', 'staging_web_pool'],
  ['https', 'GET', 'veza.fr..', '/', 'default_503'],
  ['https', 'GET', 'xveza.fr', '/', 'default_503'],
  ['https', 'GET', 'prod.veza.fr', '/api/v1/x', 'default_503'],
  ['https', 'GET', 'veza.fr.example.test', '/', 'default_503'],
  ['https', 'GET', 'example.test,veza.fr', '/', 'default_503'],
  ['https', 'GET', 'veza.fr@example.test', '/', 'default_503'],
  ['http', 'GET', 'example.test', '/api/v1/x', 'default_503'],
  ['http', 'GET', '127.0.0.1', '/', 'default_503'],
  ['http', 'GET', '[::1]', '/', 'default_503'],
  ['http', 'GET', '[2001:db8::1]:80', '/hls/1', 'default_503'],
  ['http', 'GET', '', '/', 'default_503'],
  ['http', 'GET', null, '/', 'default_503'],
  ['http/1.0', 'GET', null, '/api/v1/x', 'default_503'],
  ['http/1.0', 'GET', 'forgejo.talas.group', '/', 'forgejo_backend'],

  // A whole URL as the target: its host has to be the Host header's.
  ['https', 'GET', 'veza.fr', 'https://veza.fr/api/v1/x', 'prod_backend_api'],
  ['https', 'GET', 'veza.fr', 'https://staging.veza.fr/', '400'],
  ['https', 'OPTIONS', 'veza.fr', '*', 'prod_web_pool'],

  // Methods.
  ['https', 'HEAD', 'veza.fr', '/api/v1/x', 'prod_backend_api'],
  ['https', 'POST', 'veza.fr', '/api/v1/x', 'prod_backend_api'],
  ['https', 'PUT', 'veza.fr', '/tracks/1/a.ts', 'prod_stream_pool'],
  ['https', 'PATCH', 'staging.veza.fr', '/api/v1/x', 'staging_backend_api'],
  ['https', 'DELETE', 'staging.veza.fr', '/x', 'staging_web_pool'],
  ['https', 'OPTIONS', 'veza.fr', '/api/v1/x', 'prod_backend_api'],
  ['https', 'TRACE', 'veza.fr', '/', '405'],
  ['https', 'CONNECT', 'veza.fr:443', 'veza.fr:443', '405'],
  ['https', 'BREW', 'veza.fr', '/api/v1/x', '405'],
  ['https', 'get', 'veza.fr', '/', '405'],
  ['http', 'PROPFIND', 'forgejo.talas.group', '/', '405'],
  ['http/2', 'TRACE', 'veza.fr', '/', '405'],

  // Over http: to https where there is a certificate, but for the challenges of the certificate's authority.
  ['http', 'GET', 'veza.fr', '/', '308 https://veza.fr/'],
  ['http', 'POST', 'WWW.veza.fr:80', '/api/v1/x?y=z', '308 https://www.veza.fr/api/v1/x?y=z'],
  ['http', 'GET', 'staging.veza.fr.', '/hls/1', '308 https://staging.veza.fr/hls/1'],
  ['http', 'GET', 'talas.fr', '/', '308 https://talas.fr/'],
  ['http/1.0', 'GET', 'veza.fr', '/', '308 https://veza.fr/'],
  ['http', 'GET', 'veza.fr', '/.well-known/acme-challenge', '308 https://veza.fr/.well-known/acme-challenge'],
  ['http', 'GET', 'veza.fr', '/.well-known/acme-challenge/TOKEN', 'prod_web_pool'],
  ['http', 'GET', 'staging.veza.fr', '/.well-known/acme-challenge/TOKEN', 'staging_web_pool'],

  // Sites that Bascule does not deploy.
  ['http', 'GET', 'forgejo.talas.group', '/', 'forgejo_backend'],
  ['http', 'POST', 'Forgejo.Talas.Group:80', '/api/v1/x', 'forgejo_backend'],
  ['https', 'GET', 'forgejo.talas.group', '/stream', 'forgejo_backend'],
  ['https', 'GET', 'talas.fr', '/', 'talas_backend'],
  ['https', 'GET', 'WWW.talas.fr', '/api/v1/x', 'talas_backend'],
  ['http', 'GET', 'talas.group', '/', 'default_503'],
];

export const routeTable: readonly RouteRow[] = cells.map(([over, method, host, target, answer]) => ({
  over,
  method,
  host,
  target,
  answer,
}));

/** The table as it stands in docs/routing.md. */
export function routeTableMarkdown(rows: readonly RouteRow[]): string {
  const code = (text: string) => `\`${text}\``;
  const lines = [
    ['over', 'method', 'host', 'target', 'answer'],
    ...rows.map(({ over, method, host, target, answer }) => [
      over,
      method,
      host === null ? '(none)' : host === '' ? '(empty)' : code(host),
      code(target),
      answer,
    ]),
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const [head = '', ...rest] = lines.map(
    (line) => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  );
  return [head, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rest].join('\n');
}
