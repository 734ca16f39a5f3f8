import * as history from '../../src/cli/history.js';
import type { EnvironmentView, Status } from '../../src/domain/inspect.js';

/** One environment with colors out of a status. */
export function environmentOf(status: Status, name: string): EnvironmentView {
  const view = history.environmentOf(status, name);
  if (view.colors === null) throw new Error(`${name} has no colors`);
  return view;
}
