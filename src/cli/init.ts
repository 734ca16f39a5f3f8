import { mkdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { execa } from 'execa';
import { currentUserName } from '../current-user.js';
import { firstFreePort } from '../domain/addresses.js';
import { operationsKeptMs } from '../domain/defaults.js';
import { BasculeError } from '../errors.js';
import { installed } from '../installation.js';
import { retentionOption } from './arguments.js';
import type { Invocation } from './invocation.js';

interface InitOptions {
  readonly driver: 'process';
  readonly systemd?: string | true;
  readonly user?: string;
  readonly retention?: number;
}

export function addInit(program: Command, invocation: Invocation): void {
  program
    .command('init')
    .summary('write a bascule.yaml to begin with')
    .description('Writes a bascule.yaml with every default in it, and the JSON schema by which editors complete it.')
    .usage('[options]')
    .addOption(new Option('--driver <driver>', 'how instances run').choices(['process']).default('process'))
    .option('--user <name>', 'with --systemd: whom the worker runs as (default: who types this; root is refused)')
    .addOption(retentionOption('with --systemd: '))
    .option('--systemd [folder]', 'write units for systemd instead, for the bascule.yaml that there is (default: .)')
    .addHelpText('after', '\nExample:\n  $ bascule init --project shop\n  $ bascule init --systemd')
    .action(async ({ driver, systemd, user, retention }: InitOptions) => {
      if (systemd !== undefined) {
        const retentionMs = retention ?? operationsKeptMs;
        return writeUnits(invocation, systemd === true ? '.' : systemd, { userName: user, retentionMs });
      }
      if (user !== undefined || retention !== undefined) {
        throw new BasculeError('usage', {
          problem: '--user and --retention are about the units',
          help: 'Add --systemd, or leave it out.',
        });
      }
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

/**
 * Units that run this installation for the project here. Throws `config-invalid`, `file-exists`, `systemd-as-root`,
 * `temporal-not-installed`, `user-unknown`.
 */
async function writeUnits(
  invocation: Invocation,
  folder: string,
  { userName, retentionMs }: { readonly userName: string | undefined; readonly retentionMs: number },
): Promise<void> {
  const { installCommands, systemdUnits } = await import('./systemd-units.js');
  const { findTemporal } = await import('./dev-temporal.js');
  const { loadConfiguration } = await import('../config/load.js');
  const { project, edge, instances } = await loadConfiguration(invocation.configurationFile);
  const configurationFile = resolve(invocation.configurationFile);
  const home = dirname(configurationFile);
  const user = userName === undefined ? { name: ownName(), id: process.getuid?.() ?? 0 } : await findUser(userName);
  if (user.id === 0) throw new BasculeError('systemd-as-root', { folder: home });
  const units = systemdUnits({
    project,
    configurationFile,
    needsLowPorts: edge.manage && [edge.http, edge.https].some((bind) => bind && bind.port < firstFreePort),
    user: user.name,
    retentionMs,
    writes: [home, instances.directory, dirname(edge.files.config), edge.files.state, edge.files.certificates],
    node: process.execPath,
    program: installed('dist/bascule'),
    temporal: await findTemporal(invocation.context.env),
  });
  await mkdir(folder, { recursive: true });
  const files = units.map(({ name }) => join(folder, name));
  for (const [index, { text }] of units.entries()) await writeNew(files[index] ?? '', text);
  const isOwner = (await stat(home)).uid === user.id;
  const commands = [
    ...(isOwner ? [] : [`chown -R ${user.name} ${shellWord(home)}`]),
    ...installCommands(folder, units),
  ];
  const { green, cyan } = invocation.output.out;
  invocation.output.answer(
    { schemaVersion: 1, project, files, commands },
    [
      `${green('✔')} wrote ${files.join(' and ')}`,
      `${cyan('→')} as root:`,
      ...commands.map((line) => `  ${line}`),
    ].join('\n'),
  );
}

const shellWord = (word: string): string =>
  /^[A-Za-z0-9._/@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** As systemd takes it: of a user without a name the number. */
const ownName = (): string => currentUserName().replace(/^uid-/, '');

/** Throws `user-unknown`. */
async function findUser(name: string): Promise<{ readonly name: string; readonly id: number }> {
  const { exitCode, stdout } = await execa('id', ['-u', '--', name], { reject: false });
  if (exitCode !== 0) throw new BasculeError('user-unknown', { user: name });
  return { name, id: Number(stdout) };
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
