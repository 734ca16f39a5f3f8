import { type Command, InvalidArgumentError } from 'commander';
import type { Configuration } from '../domain/configuration.js';
import type { Color, EnvironmentState } from '../domain/edge-state.js';
import { BasculeError } from '../errors.js';
import { colorArgument } from './arguments.js';
import type { Invocation } from './invocation.js';

interface RenderOptions {
  readonly active: ReadonlyMap<string, Color>;
  /** `--no-standby ENV`, by the name that commander gives it. */
  readonly withoutStandby: readonly string[];
}

export function addRender(program: Command, invocation: Invocation): void {
  program
    .command('render')
    .summary('print the haproxy.cfg of bascule.yaml')
    .description('Prints the haproxy.cfg that bascule.yaml stands for. Needs no Temporal, and changes nothing.')
    .usage('[options]')
    .option('--active <environment=color>', 'its active color, blue by default (repeatable)', collectActive, new Map())
    .option('--no-standby <environment>', 'nobody may fall back to its other color (repeatable)', collect, [])
    .addHelpText('after', '\nExample:\n  $ bascule render --active prod=green --no-standby prod >haproxy.cfg')
    .action(async (options: { active: Map<string, Color>; standby: string[] }) => {
      const { loadConfiguration } = await import('../config/load.js');
      const configuration = await loadConfiguration(invocation.configurationFile);
      const text = await renderText(configuration, { active: options.active, withoutStandby: options.standby });
      invocation.output.answer({ schemaVersion: 1, configuration: text }, text.trimEnd());
    });
}

/**
 * haproxy.cfg with the addresses that instances have, or would be given, and placeholders for what only an installed
 * one has. Throws `unknown-environment`.
 */
export async function renderText(configuration: Configuration, options: RenderOptions): Promise<string> {
  const { wantedConfiguration } = await import('../config/address-book.js');
  const { renderConfiguration } = await import('../haproxy/render.js');
  const { stampPlaceholders } = await import('../haproxy/header.js');
  const { readVersion } = await import('../version.js');
  const states = statesOf(configuration, options);
  const rendered = renderConfiguration(await wantedConfiguration(configuration), states);
  return stampPlaceholders(rendered, { project: configuration.project, states, version: readVersion() });
}

function statesOf({ environments }: Configuration, { active, withoutStandby }: RenderOptions): EnvironmentState[] {
  const known = environments.map(({ name }) => name);
  for (const environment of [...active.keys(), ...withoutStandby]) {
    if (!known.includes(environment)) throw new BasculeError('unknown-environment', { environment, known });
  }
  return known.map((name) => ({
    name,
    color: active.get(name) ?? 'blue',
    sha: 'placeholder',
    standby: withoutStandby.includes(name) ? null : 'placeholder',
  }));
}

function collectActive(text: string, before: ReadonlyMap<string, Color>): ReadonlyMap<string, Color> {
  const [environment, color, ...more] = text.split('=');
  if (!environment || color === undefined || more.length > 0)
    throw new InvalidArgumentError('Expected ENV=blue or ENV=green.');
  return new Map([...before, [environment, colorArgument(color)]]);
}

const collect = (text: string, before: readonly string[]): string[] => [...before, text];
