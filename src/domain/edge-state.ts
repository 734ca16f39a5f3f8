export type Color = 'blue' | 'green';

export const colors: readonly Color[] = ['blue', 'green'];
export const otherColor = (color: Color): Color => (color === 'blue' ? 'green' : 'blue');

/** One environment as the edge serves it: a line of the header of the installed haproxy.cfg. */
export interface EnvironmentState {
  readonly name: string;
  /** The active color. */
  readonly color: Color;
  /** The active release, null where nothing was ever deployed. */
  readonly sha: string | null;
  /** The release that the other color holds for visitors to fall back to, or null where there is none. */
  readonly standby: string | null;
}

/** A line of `<state>/active-color-<env>.history`: a release that visitors were given and nobody took back. */
export interface HistoryLine {
  /** RFC 3339. */
  readonly at: string;
  readonly color: Color;
  readonly sha: string;
}

export const neverDeployed = (name: string): EnvironmentState => ({ name, color: 'blue', sha: null, standby: null });
