/**
 * Headers by which apps, frameworks and web servers learn who asks, by which way and for what, and which a visitor could
 * as well write himself: the edge sets or removes them. Of servers that read both as one variable (`HTTP_X_REAL_IP`),
 * `_` is taken for `-`.
 */
const claims: readonly string[] = [
  // RFC 7239, and what stood for it before.
  'forwarded',
  'x-forwarded(-(for|by|host|host-original|port|proto|protocol|scheme|server|ssl|https|tls|prefix|path|uri|url|method|request|client-ip|for-ip))?',
  // The visitor's address: X-Real-IP, True-Client-IP, CF-Connecting-IP, Fastly-Client-IP, X-Azure-SocketIP, Remote-Addr, …
  '(.*-)?(client|connecting|real|remote|external|originating|proxyuser|socket|pseudo|viewer)-?(ip|addr|address)(v?[46])?',
  'x-appengine-user-ip',
  // What was asked for, as a proxy that rewrites it says: routing has gone by the request itself.
  'x-original-(url|uri|path|host|method|proto|scheme|port|for|request|forwarded.*|remote.*)',
  'x-rewrite(-url)?',
  'x-(host|http-host-override|http-destinationurl)',
  // The scheme.
  'x-(url-)?scheme',
  'front-end-https',
  '(wl-proxy|fastly|x-arr)-ssl',
  'cf-visitor|cloudfront-forwarded-proto',
  // Programs that are started for each request take it for their own proxy (httpoxy, CVE-2016-5385).
  'proxy',
];

/** What a proxy before the edge may say of a visitor, and nobody else: who signed in, with which certificate, from where. */
const claimsOfProxies: readonly string[] = [
  'x-forwarded-.*',
  '(x-)?(remote|webauth|authenticated|authentik|auth-request|goog-authenticated)-(user|name|fullname|email|groups?|roles?|username|preferred-username|id|uid|login|display-name)(-.*)?',
  '(x-)?(ssl-)?client-(cert|cert-.*|certificate|verify|verified|dn|s-dn|i-dn|subject|issuer|serial|fingerprint)',
  '(x-)?ssl-client(-.*)?',
  'x-arr-clientcert',
  'cf-ip(country|city|continent|latitude|longitude)|cloudfront-viewer-.*',
];

/** Regular expressions of their names, each one word of haproxy.cfg. */
export const claimedHeaders: string = oneOf(claims);
export const claimedUnlessByProxy: string = oneOf(claimsOfProxies);

function oneOf(names: readonly string[]): string {
  return `^(${names.join('|')})$`.replaceAll('-', '[-_]');
}
