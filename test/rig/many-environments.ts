/** examples/local.yaml with these environments instead of its own, each with one component and the host `<name>.localhost`. */
export function withEnvironments(yaml: string, names: readonly string[]): string {
  const lines = names.map(
    (name) => `  ${name}: { prefix: ${name}-, hosts: [${name}.localhost], soak: 300ms, drain: 1s }`,
  );
  return yaml
    .replace(/^environments:\n(?: .*\n)+/m, `environments:\n${lines.join('\n')}\n`)
    .replace(/^ {2}api:\n(?: {4}.*\n)+/m, '');
}
