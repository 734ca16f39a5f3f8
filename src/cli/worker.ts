import type { Command } from 'commander';
import type { Invocation } from './invocation.js';

export function addWorker(program: Command, invocation: Invocation): void {
  program
    .command('worker')
    .summary('carry out what is asked, until SIGTERM')
    .description('Carries out every operation of the project, and keeps edge and instances running, until SIGTERM.')
    .usage('[options]')
    .option('--metrics <address>', 'where /healthz and /metrics (Prometheus) are, such as 127.0.0.1:9464')
    .addHelpText('after', '\nExample:\n  $ bascule worker --metrics 127.0.0.1:9464')
    .action(async (options: { metrics?: string }) => {
      const { runWorker } = await import('../worker.js');
      await runWorker({ configurationFile: invocation.configurationFile, ...options });
    });
}
