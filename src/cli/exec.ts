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
      "Runs a program as a component's own one runs: in its release's folder, with its environment and " +
        "its secrets, which are read here. Ends with the program's exit code.",
    )
    .usage('[ENV] COMPONENT [options] -- PROGRAM [ARGUMENT…]')
    .argument('[operands...]', 'the environment, which may be left out where there is one, and the component')
    .option('--color <color>', 'blue or green (default: the active one)', colorArgument)
    .option('--instance <name>', 'multi-instance: which one (default: the first)')
    .addHelpText('after', '\nExample:\n  $ bascule exec prod api -- node console.mjs')
    .action(async (_: readonly string[], options: ExecOptions, command: Command) => {
      const { named, argv } = splitAtDashes(command, invocation.context.argv);
      const { environment: environmentName, value: component } = optionalFirst(named[0], named[1], 'COMPONENT');
      const environment = await invocation.environment(environmentName);
      invocation.exitCode = await runInRelease(invocation, { environment, component, ...options }, argv);
    });
}

/** What stands before `--`, and what to run. Throws `usage`. */
function splitAtDashes(
  command: Command,
  raw: readonly string[],
): { named: readonly string[]; argv: readonly [string, ...string[]] } {
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

/** Throws `unknown-component`, `instance-empty`, `secret-missing`, and what `readInForce` throws. */
async function runInRelease(
  invocation: Invocation,
  wanted: { environment: string; component: string } & ExecOptions,
  argv: readonly [string, ...string[]],
): Promise<number> {
  const { findInstance } = await import('../instances/places.js');
  const { driverOf, readInstance } = await import('../instances/drivers.js');
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
  const env = await readEnv(configured);
  return await driverOf(instance).runInRelease(instance, { sha, sha256, env }, argv);
}
