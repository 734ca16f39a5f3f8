/**
 * Lines of an operator's own for haproxy.cfg. They may say what they like, but not end the section that they stand in, nor
 * touch what Bascule proves its configuration by.
 */

/** The words that begin a section, of HAProxy 2.4 to 3.2 and later. */
const sections = new Set([
  'acme',
  'backend',
  'cache',
  'crt-store',
  'defaults',
  'fcgi-app',
  'frontend',
  'global',
  'healthcheck',
  'http-errors',
  'listen',
  'log-forward',
  'log-profile',
  'mailers',
  'namespace_list',
  'peers',
  'program',
  'resolvers',
  'ring',
  'traces',
  'userlist',
]);
const variableKeywords = ['setenv', 'presetenv', 'unsetenv'];

export interface LineProblem {
  readonly line: number;
  /** What was expected. */
  readonly message: string;
}

/**
 * What is wrong in a text whose lines end with `\n`, line by line. `variables` are those that are set where HAProxy runs;
 * those that these lines set are added, and those that they take away are removed.
 */
export function extraLineProblems(text: string, variables: Set<string>): LineProblem[] {
  return text.split('\n').flatMap((content, index) => {
    const message = lineProblem(content) ?? unsetProblem(content, variables);
    setVariables(content, variables);
    return message === null ? [] : [{ line: index + 1, message }];
  });
}

/** Variables that are set wherever HAProxy runs for Bascule: by its own lines, by HAProxy (2.4), and by the start. */
export const variablesOfHaproxy = (): Set<string> =>
  new Set([
    ...['BASCULE_DIGEST', 'BASCULE_GENERATION', 'BASCULE_PROBE'],
    ...['HAPROXY_LOCALPEER', 'HAPROXY_CFGFILES', 'HAPROXY_MWORKER', 'HAPROXY_CLI', 'HAPROXY_MASTER_CLI', 'PATH'],
  ]);

/**
 * HAProxy takes a variable that is not set for nothing, in silence. It is asked about a file in the same environment that
 * it runs in, which holds next to nothing.
 */
function unsetProblem(line: string, variables: ReadonlySet<string>): string | null {
  const unset = expandedVariables(line).find((name) => !variables.has(name));
  return unset === undefined
    ? null
    : `expected a variable that is set where HAProxy runs: ${unset} is not; \`edge.extra.global\` sets it by setenv, or by presetenv where the environment of HAProxy comes first`;
}

/** A line of these may take names away too; what is set in one section is known in those below. */
function setVariables(line: string, variables: Set<string>): void {
  const [word = '', ...names] = line.replace(/#.*/, '').match(/[^ \t]+/g) ?? [];
  if (word === 'unsetenv') for (const name of names) variables.delete(name);
  else if (variableKeywords.includes(word) && names[0] !== undefined) variables.add(names[0]);
}

/**
 * The variables that HAProxy puts into a line (configuration manual, 2.3): `$NAME`, `${NAME}` and `${NAME[*]}` within
 * double quotes, where a backslash takes the meaning of what follows. `${NAME-text}` has a text of its own.
 */
function expandedVariables(line: string): string[] {
  const parts = line.matchAll(/\\.|#.*|'[^']*'?|"((?:\\.|[^"\\])*)"?/g);
  return [...parts].flatMap(([, quoted = '']) =>
    [...quoted.matchAll(/\\.|\$\{?([A-Za-z0-9_]+)(-)?/g)].flatMap(([whole, name, hasText]) =>
      name === undefined || (hasText !== undefined && whole.startsWith('${')) ? [] : [name],
    ),
  );
}

function lineProblem(line: string): string | null {
  if (/[^\P{Cc}\t]/u.test(line)) return 'expected no control characters but tab and newline';
  // Bascule reads its header, and what it proves a reload by, as lines of this file.
  if (/^[ \t]*# (?:bascule project|environment name)=/.test(line)) return "expected no line of Bascule's own header";
  // HAProxy takes a comment for the end of a word too, and quotes, backslashes and variables out of each.
  const [word, ...names] = line.replace(/#.*/, '').match(/[^ \t]+/g) ?? [];
  if (word === undefined) return null;
  if (word.startsWith('.')) return 'expected no condition such as .if: it would reach beyond these lines';
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(word)) {
    return 'expected a keyword at the beginning, of letters, digits and . _ - only';
  }
  if (sections.has(word)) return `expected no section: "${word}" begins one`;
  if (word === 'resetenv') return "expected no resetenv: it would take away Bascule's own variables";
  return variableKeywords.includes(word) ? variableProblem(word === 'unsetenv' ? names : names.slice(0, 1)) : null;
}

function variableProblem(names: readonly string[]): string | null {
  if (names.some((name) => /^BASCULE_/.test(name))) return 'expected no variable that begins with BASCULE_';
  return names.every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    ? null
    : 'expected names of variables, of letters, digits and "_" only';
}
