import { writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { BasculeError } from '../errors.js';
import type { Invocation } from './invocation.js';

export function addInit(program: Command, invocation: Invocation): void {
  program
    .command('init')
    .summary('write a bascule.yaml to begin with')
    .description('Writes a bascule.yaml with every default in it, and the JSON schema by which editors complete it.')
    .usage('[options]')
    .addOption(new Option('--driver <driver>', 'how instances run').choices(['process']).default('process'))
    .addHelpText('after', '\nExample:\n  $ bascule init --project shop')
    .action(async ({ driver }: { driver: 'process' }) => {
      const { initialConfiguration } = await import('../config/initial.js');
      const { configurationJsonSchema } = await import('../config/json-schema.js');
      const file = invocation.configurationFile;
      const project = invocation.options.project ?? projectNameOf(dirname(resolve(file)));
      const schema = join(dirname(file), 'bascule.schema.json');
      await writeNew(file, initialConfiguration({ driver, project }));
      // What it says is the same whoever wrote it.
      await writeFile(schema, `${JSON.stringify(configurationJsonSchema(), null, 2)}\n`);
      const { green, cyan } = invocation.output.out;
      invocation.output.answer(
        { schemaVersion: 1, project, files: [file, schema] },
        [
          `${green('✔')} wrote ${file} and ${schema}`,
          `${cyan('→')} say in ${file} what runs, then: bascule validate, bascule dev`,
        ].join('\n'),
      );
    });
}

/** A folder's name as a project's name. */
function projectNameOf(folder: string): string {
  const name = basename(folder)
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^[^a-z]+|-+$/g, '');
  return name === '' ? 'app' : name;
}

/** Throws `file-exists`. */
async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new BasculeError('file-exists', { file });
    throw error;
  }
}
