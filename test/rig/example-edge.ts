import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { wantedConfiguration } from '../../src/config/address-book.js';
import { loadConfiguration } from '../../src/config/load.js';
import type {
  AppliedCertificates,
  AppliedConfiguration,
  BindAddress,
  Configuration,
  ExternalConfiguration,
  ServerAddress,
} from '../../src/domain/configuration.js';
import type { EnvironmentState } from '../../src/domain/edge-state.js';
import { type Answer, ask } from './ask.js';
import { writeCertificates } from './certificates.js';
import { type EdgeUnderTest, startEdgeOf } from './edge-under-test.js';
import { type HaproxyPlaces, haproxyPlaces } from './haproxy.js';
import { freeLoopbackRange, freePort } from './ports.js';
import { type OpenWebSocket, openWebSocket } from './web-socket.js';

export type Example = 'veza' | 'lab';

export const exampleFile = (example: Example): string =>
  fileURLToPath(new URL(`../../examples/${example}.yaml`, import.meta.url));

export interface ExampleEdge extends EdgeUnderTest {
  /** Folder of the PEM files that it serves https with. */
  readonly certificates: string;
  /** The certificates in it. */
  readonly trusted: readonly string[];
  /** Asks over https where the example serves it, else over http. */
  visit(host: string, path: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** The same for a WebSocket. */
  openWebSocket(host: string, path: string): Promise<OpenWebSocket>;
}

/**
 * Serves a shipped example on this machine: only addresses and the paths of files are others than those it names, and
 * health checks come every `intervalMs` (100 where it is not given). Instances and external sites are apps that answer
 * with their names.
 */
export async function startExampleEdge(
  example: Example,
  options: {
    readonly states?: readonly EnvironmentState[];
    readonly intervalMs?: number;
    /** Changes the configuration further. */
    readonly change?: (configuration: Configuration) => Configuration;
    /** Whether there are certificates for all of `certificates.domains` as it starts; there are unless it is false. */
    readonly hasCertificates?: boolean;
    /** Where Bascule itself obtains them. */
    readonly obtained?: AppliedCertificates;
  } = {},
): Promise<ExampleEdge> {
  const { states = [], intervalMs = 100, change = (same) => same, hasCertificates = true, obtained } = options;
  const places = await haproxyPlaces();
  const certificates = join(places.folder, 'certificates');
  await mkdir(certificates);
  const configuration = change(await loadConfiguration(exampleFile(example)));
  const domains = hasCertificates ? (configuration.certificates?.domains ?? []) : [];
  const trusted = await writeCertificates(certificates, domains);
  const { applied, more } = await onLoopback(
    { ...(await wantedConfiguration(configuration)), ...(obtained && { certificates: obtained }) },
    places,
    certificates,
    intervalMs,
  );
  const { http, https } = applied.configuration.edge;
  const target = https ? { ...https, trusted } : http;
  return {
    ...(await startEdgeOf(applied, { places, states, more })),
    certificates,
    trusted,
    visit: async (host, path, headers) => await ask(target, host, path, headers),
    openWebSocket: async (host, path) => await openWebSocket({ target, host, path, ...(https && { trusted }) }),
  };
}

/** All of it in one range of loopback addresses: the edge is its first, each server has one of its own. */
async function onLoopback(
  { configuration, addresses, ...rest }: AppliedConfiguration,
  { socket, masterSocket, config, folder }: HaproxyPlaces,
  certificates: string,
  intervalMs: number,
): Promise<{ applied: AppliedConfiguration; more: Readonly<Record<string, ServerAddress>> }> {
  const range = freeLoopbackRange();
  let given = 1;
  const port = await freePort(range.address(2));
  const nextAddress = (): ServerAddress => {
    given += 1;
    return { address: range.address(given), port };
  };
  const bind = async (): Promise<BindAddress> => ({
    address: range.address(1),
    port: await freePort(range.address(1)),
  });
  const { https, runtime, metrics, ...edge } = configuration.edge;
  const more: Record<string, ServerAddress> = {};
  const external = (configuration.external ?? []).map((site): ExternalConfiguration => {
    if (!('server' in site)) return site;
    const server = nextAddress();
    more[site.name] = server;
    return { ...site, server };
  });
  return {
    more,
    applied: {
      ...rest,
      addresses: Object.fromEntries(Object.keys(addresses).map((name) => [name, nextAddress()])),
      configuration: {
        ...configuration,
        edge: {
          ...edge,
          http: await bind(),
          ...(https && { https: await bind() }),
          ...(runtime && { runtime: await bind() }),
          ...(metrics && { metrics: await bind() }),
          files: { config, state: join(folder, 'state'), certificates, socket, masterSocket },
        },
        components: configuration.components.map((component) => ({
          ...component,
          health: { ...component.health, intervalMs },
        })),
        ...(configuration.external && { external }),
      },
    },
  };
}
