import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Configuration } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';
import type { Invocation } from './invocation.js';
import { renderText } from './render.js';

const checkTimeoutMs = 30_000;

export function addValidate(program: Command, invocation: Invocation): void {
  program
    .command('validate')
    .summary('check bascule.yaml and what it stands for')
    .description(
      'Checks bascule.yaml and shows every error with its place. Where HAProxy is installed, it also checks the ' +
        'haproxy.cfg that the file stands for.',
    )
    .usage('')
    .addHelpText('after', '\nExample:\n  $ bascule validate --config deploy/bascule.yaml')
    .action(async () => {
      const { loadConfiguration } = await import('../config/load.js');
      const file = invocation.configurationFile;
      const configuration = await loadConfiguration(file);
      const checked = await checkByHaproxy(configuration);
      const { green, dim } = invocation.output.out;
      const environments = configuration.environments.map(({ name }) => name);
      const components = configuration.components.map(({ name }) => name);
      invocation.output.answer(
        {
          schemaVersion: 1,
          outcome: 'succeeded',
          file,
          project: configuration.project,
          environments,
          components,
          checkedByHaproxy: checked,
        },
        [
          `${green('✔')} ${file}: project ${configuration.project}, ${environments.length === 0 ? '' : `environments ${environments.join(', ')}, `}components ${components.join(', ')}`,
          checked
            ? `${green('✔')} haproxy -c accepts what it renders`
            : dim('- haproxy is not installed here: what it renders is not checked'),
        ].join('\n'),
      );
    });
}

/** Answers false where HAProxy is not installed. Throws `haproxy-refused`. */
async function checkByHaproxy(configuration: Configuration): Promise<boolean> {
  const { LocalHost } = await import('../hosts/local.js');
  const host = new LocalHost();
  const folder = await mkdtemp(join(tmpdir(), 'bascule-validate-'));
  const file = join(folder, 'haproxy.cfg');
  const certificates = join(folder, 'certificates');
  try {
    // The certificates are on the edge's host: an empty folder stands for theirs.
    await mkdir(certificates);
    const { edge } = configuration;
    const here = { ...configuration, edge: { ...edge, files: { ...edge.files, certificates } } };
    await writeFile(file, await renderText(here, { active: new Map(), withoutStandby: [] }));
    // In an environment as the edge's own HAProxy has it.
    const check = 'command -v haproxy >/dev/null || exit 127; exec env -i PATH="$PATH" haproxy -c -f "$1"';
    const argv = ['sh', '-c', check, 'check', file] as const;
    const { exitCode, stdout, stderr } = await host.run(argv, { timeoutMs: checkTimeoutMs });
    if (exitCode === 127) return false;
    if (exitCode === 0) return true;
    throw new BasculeError('haproxy-refused', { host: host.name, output: `${stderr}${stdout}`, lines: [] });
  } finally {
    await rm(folder, { recursive: true });
  }
}
