import type { Command } from 'commander';
import type { Invocation } from './invocation.js';

export function addSchema(program: Command, invocation: Invocation): void {
  program
    .command('schema')
    .summary('print the JSON schema of bascule.yaml')
    .description('Prints the JSON schema of bascule.yaml; with --output that of the documents that --json prints.')
    .usage('[options]')
    .option('--output', 'of the documents that --json prints')
    .addHelpText('after', '\nExample:\n  $ bascule schema >bascule.schema.json')
    .action(async ({ output }: { output?: boolean }) => {
      const document = output
        ? (await import('./output-schema.js')).outputJsonSchema()
        : (await import('../config/json-schema.js')).configurationJsonSchema();
      invocation.output.answer(document, JSON.stringify(document, null, 2));
    });
}
