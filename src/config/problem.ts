/** Something wrong in bascule.yaml. */
export interface Problem {
  readonly path: ConfigurationPath;
  /** Whether the place to show is that of the value or of its key. A value that is missing has its parent's. */
  readonly at: 'value' | 'key';
  /** What was expected. */
  readonly message: string;
}

export type ConfigurationPath = readonly (string | number)[];

export const wrong = (path: ConfigurationPath, message: string): Problem => ({ path, at: 'value', message });
export const wrongKey = (path: ConfigurationPath, message: string): Problem => ({ path, at: 'key', message });

/** `components.api.routes[0].prefix`; keys that are no plain word are quoted, so that nothing odd reaches a terminal. */
export function formatPath(path: ConfigurationPath): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) return `[${JSON.stringify(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}
