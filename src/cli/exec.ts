import { constants } from 'node:os';
import type { Command } from 'commander';
import type { Color } from '../domain/edge-state.js';
import { BasculeError } from '../errors.js';
import { colorArgument, optionalFirst } from './arguments.js';
import type { Invocation } from './invocation.js';
import { openLocalProject, readInForce } from './local-project.js';

interface ExecOptions {
  readonly color?: Color;
  readonly instance?: string;
}

export function addExec(program: Command, invocation: Invocation): void {
  program
    .command('exec')
    .summary("run a program in a component's release")
    .description(
      "Runs a program on this machine as a component's own one runs: in its release's folder, with its environment and " +
        "its secrets, which are read here. Ends with the program's exit code.",
    )
    .usage('[ENV] COMPONENT [options] -- PROGRAM [ARGUMENT…]')
    .argument('[operands...]', 'the environment, which may be left out where there is one, and the component')
    .option('--color <color>', 'blue or green (default: the active one)', colorArgument)
    .option('--instance <name>', 'multi-instance: which one (default: the first)')
    .addHelpText('after', '\nExample:\n  $ bascule exec prod api -- node console.mjs')
    .action(async (_: readonly string[], options: ExecOptions, command: Command) => {
      const { named, argv } = splitAtDashes(command);
      const { environment: environmentName, value: component } = optionalFirst(named[0], named[1], 'COMPONENT');
      const environment = await invocation.environment(environmentName);
      const release = await findRelease(invocation, { environment, component, ...options });
      process.exitCode = await runInRelease(argv, release);
    });
}

/** What stands before `--`, and what to run. Throws `usage`. */
function splitAtDashes(command: Command): { named: readonly string[]; argv: readonly [string, ...string[]] } {
  const raw = process.argv;
  const dashes = raw.indexOf('--');
  const [program, ...args] = dashes < 0 ? [] : raw.slice(dashes + 1);
  if (program === undefined) {
    throw new BasculeError('usage', {
      problem: 'what is to be run follows after --',
      help: 'Type: bascule exec ENV COMPONENT -- PROGRAM ARGUMENT…',
    });
  }
  return { named: command.args.slice(0, command.args.length - args.length - 1), argv: [program, ...args] };
}

interface ReleaseInPlace {
  readonly folder: string;
  readonly variables: Readonly<Record<string, string>>;
}

/** Throws `unknown-component`, `instance-empty`, `secret-missing`, and what `readInForce` throws. */
async function findRelease(
  invocation: Invocation,
  wanted: { environment: string; component: string } & ExecOptions,
): Promise<ReleaseInPlace> {
  const { findInstance } = await import('../instances/places.js');
  const { instanceFiles, readInstance } = await import('../instances/record.js');
  const { programEnvironment } = await import('../instances/environment.js');
  const { readEnv } = await import('../config/secrets.js');
  const project = await openLocalProject(invocation);
  const { applied, activeColor } = await readInForce(project);
  const { environment, component, instance: named, color = activeColor(environment) } = wanted;
  const { instance, component: configured } = findInstance(project, applied, {
    ...{ environment, component, color },
    ...(named === undefined ? {} : { instance: named }),
  });
  const { sha, sha256 } = await readInstance(instance);
  if (sha === null || sha256 === null) throw new BasculeError('instance-empty', { instance: instance.name });
  const variables = programEnvironment(instance, { sha, env: await readEnv(configured) });
  return { folder: instanceFiles(instance).release(sha, sha256), variables };
}

/** The program's exit code; 128 and the signal's number where a signal ended it, as a shell has it. Throws `command-not-found`. */
async function runInRelease(
  [program, ...args]: readonly [string, ...string[]],
  { folder, variables }: ReleaseInPlace,
): Promise<number> {
  const { execa } = await import('execa');
  // Ctrl-C on a terminal reaches the program too, which answers it as it likes.
  const stay = (): void => undefined;
  process.on('SIGINT', stay);
  try {
    const env = { ...variables, ...(process.env.TERM === undefined ? {} : { TERM: process.env.TERM }) };
    const result = await execa(program, args, { cwd: folder, env, extendEnv: false, stdio: 'inherit', reject: false });
    if (result.code === 'ENOENT') throw new BasculeError('command-not-found', { host: 'localhost', program });
    return result.signal === undefined ? (result.exitCode ?? 1) : 128 + constants.signals[result.signal];
  } finally {
    process.off('SIGINT', stay);
  }
}
