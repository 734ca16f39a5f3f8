import { resolve } from 'node:path';
import { parse } from 'yaml';
import { configurationJsonSchema } from '../../src/config/json-schema.js';

/** As much of JSON Schema as the schema of bascule.yaml uses. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly propertyNames?: Schema;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly pattern?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
}

export const schema = configurationJsonSchema() as Schema;

export type Path = readonly (string | number)[];

/** A value of a configuration, or a name that is a key of it. */
export interface Field {
  readonly path: Path;
  /** The same where names above it were replaced. */
  readonly shown: Path;
  readonly isName: boolean;
  /** That its strings have to match; missing in numbers and choices. */
  readonly pattern?: string;
  readonly base: unknown;
}

const blueGreen = `
version: 1
project: projectname
edge:
  name: edgename
  host: { driver: incus, instance: edgeinstance }
  http: 127.0.0.1:8088
  https: 127.0.0.1:8443
  hsts: { maxAge: 365d }
  trustedProxies: [10.0.0.0/8, "2001:db8::/32"]
  runtime: 127.0.0.1:9100
  metrics: 127.0.0.1:8405
  log: { to: /dev/log, format: json }
  errors: { 503: "${resolve(import.meta.dirname, '../../tsconfig.json')}" }
  files: { config: e/haproxy.cfg, state: e/state, certificates: e/certs, socket: e/h.sock, master: e/m.sock }
  httpKeepAlive: 5s
  hardStopAfter: 1h
environments:
  prod: { prefix: demo-, hosts: [www.example.org], soak: 60s, drain: 5m }
components:
  api:
    pool: backend_api
    port: 8081
    health: { path: /health, interval: 2s, fall: 3, rise: 2 }
    routes: [{ prefix: /api, extensions: [m3u8] }]
    balance: { cookie: SERVERID }
    slowStart: 30s
    timeouts: { server: 5m, tunnel: 1h }
    run: [node, api.mjs]
    env: { LEVEL: info }
external:
  blog: { hosts: [blog.example.org], server: 10.0.0.5:3000 }
  closed: { hosts: [closed.example.org], respond: 503 }
certificates:
  ca: https://ca.example.org/directory
  email: ops@example.org
  caFile: roots.pem
  eab: { keyId: id-1, key: { env: EAB_KEY } }
  profile: shortlived
  keys: [ecdsa]
  challenge: challenge.example.org:8080
  domains: [[cert.example.org]]
artifacts: { url: "file:./{sha}.tar.gz" }
instances: { addresses: 127.77.0.0/16, directory: instances }
`;

/** Configurations that hold every field that reaches haproxy.cfg or a shell. */
export const configurations: Readonly<Record<string, unknown>> = {
  processes: parse(blueGreen),
  containers: parse(
    blueGreen
      .replace('    env: { LEVEL: info }', '    user: somebody')
      .replace(/^instances: .*$/m, 'instances: { driver: incus, image: images:debian/13, domain: lxd }'),
  ),
  rolling: parse(`
version: 1
project: projectname
topology: multi-instance
edge: { http: 127.0.0.1:8088, files: { certificates: e/certs, socket: e/h.sock } }
components:
  api:
    health: { path: /health }
    instances: [api-1]
    fallback: [api.example.org:8081]
    default: true
instances: { driver: incus, image: images:debian/13, domain: lxd }
`),
};

/** Each is added to a valid value, where it would begin a directive, another word, a pattern file or an expansion. */
export const additions = [
  ...['\n  use_backend other', '\n', '\r', '\0', '\t', ' ', ' or TRUE', ' -f /etc/passwd', '$HOME', '$(id)', '`id`'],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: HAProxy expands it
  '${HOME}',
  ...['%[src]', '"', "'", '#', '\\', ';id', '|id', '&', '>x', '*', '\u00e9', '\u2028'],
] as const;

/** Programs, files that are only opened, and URLs of artifacts: they reach neither haproxy.cfg nor a shell. */
const isFree = ({ path, isName }: Field): boolean =>
  !isName &&
  /^(version|artifacts\..*|.*\.(run\.\d+|env\.\w+|caFile|errors\.\d+|key\.env|default))$/.test(path.join('.'));

/** Every field of a configuration that reaches haproxy.cfg or a shell, as the schema knows it. */
export function fieldsOf(configuration: unknown): readonly Field[] {
  const fields: Field[] = [];
  withFields(configuration, (field) => {
    fields.push(field);
    return field.base;
  });
  return fields;
}

/** The configuration with another value for each of its fields. */
export function withFields(configuration: unknown, replace: (field: Field) => unknown): unknown {
  const walk = (part: Schema, value: unknown, path: Path, shown: Path): unknown => {
    const branch = (part.anyOf ?? part.oneOf)?.find((each) => refused(each, value, '').length === 0) ?? part;
    if (Array.isArray(value)) {
      return value.map((item, index) =>
        walk(branch.prefixItems?.[index] ?? branch.items ?? {}, item, [...path, index], [...shown, index]),
      );
    }
    if (typeof value !== 'object' || value === null) {
      const field = { path, shown, isName: false, base: value, ...(branch.pattern && { pattern: branch.pattern }) };
      return isFree(field) ? value : replace(field);
    }
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => {
        const { additionalProperties: others, propertyNames, properties } = branch;
        const known = properties?.[key] ?? (typeof others === 'object' ? others : {});
        const pattern = propertyNames?.pattern ?? '';
        const field = { path: [...path, key], shown: [...shown, key], isName: true, base: key, pattern };
        const name = propertyNames ? String(replace(field)) : key;
        return [name, walk(known, item, field.path, [...shown, name])];
      }),
    );
  };
  return walk(schema, configuration, [], []);
}

/** What a part of the schema refuses of a value, by path. */
export function refused(part: Schema, value: unknown, path: string): string[] {
  const branches = part.anyOf ?? part.oneOf;
  if (branches)
    return branches.some((branch) => refused(branch, value, path).length === 0) ? [] : [`${path} fits none`];
  if (part.enum) return part.enum.includes(value) ? [] : [`${path} is another value`];
  if (part.const !== undefined) return value === part.const ? [] : [`${path} is another value`];
  if (part.type === 'array') return refusedItems(part, value, path);
  if (part.type === 'object') return refusedProperties(part, value, path);
  const type = part.type === 'integer' ? 'number' : part.type;
  const isMatching = typeof value === type && (!part.pattern || new RegExp(part.pattern, 'u').test(String(value)));
  return isMatching ? [] : [`${path} does not match`];
}

function refusedItems(part: Schema, value: unknown, path: string): string[] {
  if (!Array.isArray(value)) return [`${path} is no list`];
  return value.flatMap((item, index) =>
    refused(part.prefixItems?.[index] ?? part.items ?? {}, item, `${path}[${index}]`),
  );
}

function refusedProperties(part: Schema, value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [`${path} is no mapping`];
  const others = typeof part.additionalProperties === 'object' ? part.additionalProperties : undefined;
  return [
    ...Object.entries(value).flatMap(([key, item]) => {
      const known = part.properties?.[key] ?? others;
      return known ? refused(known, item, `${path}.${key}`) : [`${path}.${key} is unknown`];
    }),
    ...(part.required ?? []).filter((key) => !Object.hasOwn(value, key)).map((key) => `${path}.${key} is missing`),
  ];
}

/** As errors name it: keys that are no plain word in brackets and quotes. */
export function formatted(path: Path): string {
  return path.reduce<string>((before, part) => {
    if (typeof part === 'number') return `${before}[${part}]`;
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) return `${before}[${JSON.stringify(part)}]`;
    return before === '' ? part : `${before}.${part}`;
  }, '');
}
