import nunjucks from 'nunjucks';
import type { AppliedConfiguration } from '../domain/configuration.js';
import type { EnvironmentState } from '../domain/edge-state.js';
import { installed } from '../installation.js';
import { digestOf } from './header.js';
import { configurationView } from './view.js';

export interface RenderedConfiguration {
  /** haproxy.cfg without its header, and with nothing yet in the three setenv lines of Bascule. */
  readonly body: string;
  /** SHA-256, 64 hex digits: it is the same however the body is stamped. */
  readonly digest: string;
}

const templates = new nunjucks.Environment(new nunjucks.FileSystemLoader(installed('templates')), {
  autoescape: false,
  throwOnUndefined: true,
  trimBlocks: true,
  lstripBlocks: true,
});

/**
 * haproxy.cfg for a configuration, with the colors of its environments. An environment that `states` does not name is
 * one where nothing was ever deployed.
 *
 * @throws `edge-value-unsafe`, `instance-without-address`
 */
export function renderConfiguration(
  applied: AppliedConfiguration,
  states: readonly EnvironmentState[],
): RenderedConfiguration {
  const body = templates.render('haproxy.cfg.njk', configurationView(applied, states));
  return { body, digest: digestOf(body) };
}
