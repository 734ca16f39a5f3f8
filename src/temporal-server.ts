/** What "all failed deploys of prod" is found by; without them every workflow would hang. */
export const searchAttributeNames = ['BasculeEnvironment', 'BasculeKind', 'BasculeSha', 'BasculeOutcome'] as const;

export interface TemporalServerOptions {
  readonly port: number;
  /** Where its UI listens, null for none. It answers any Host: see `startTemporalUi`. */
  readonly ui: { readonly address: string; readonly port: number } | null;
  /** A free one where it is not given. */
  readonly httpPort?: number;
  /** A free one where it is not given. */
  readonly metricsPort?: number;
  readonly dbFile: string;
}

/** Arguments of Temporal's CLI that start its dev server on 127.0.0.1, fast enough for a deploy of many short steps. */
export function temporalServerArguments(options: TemporalServerOptions): string[] {
  const { port, ui, httpPort, metricsPort, dbFile } = options;
  return [
    ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${port}`, '--log-level', 'warn'],
    ...(ui === null ? ['--headless'] : ['--ui-ip', ui.address, '--ui-port', `${ui.port}`]),
    ...(httpPort === undefined ? [] : ['--http-port', `${httpPort}`]),
    ...(metricsPort === undefined ? [] : ['--metrics-port', `${metricsPort}`]),
    // Keeps everything when the process is killed; a power cut may cost the last transactions and corrupts nothing.
    ...['--db-filename', dbFile, '--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
    // The server reads its queue of tasks 20 times a second by default, which makes every activity wait 50 ms.
    ...['--dynamic-config-value', 'history.transferProcessorMaxPollRPS=2000'],
    ...['--dynamic-config-value', 'history.transferProcessorMaxPollHostRPS=4000'],
    // Its HTTP API cannot be switched off, and a web page can send it requests: it takes none. Bascule speaks gRPC.
    ...['--dynamic-config-value', 'frontend.httpAllowedHosts=[]'],
    // Activities belong to workflows here: nobody starts a single one.
    ...['--dynamic-config-value', 'activity.enableStandalone=false'],
    ...searchAttributeNames.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
  ];
}
