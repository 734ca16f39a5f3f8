// Writes what the chaos tests found into docs/reliability.md: node script/reliability.mjs FOLDER.
// A section that this run did not report stays as it is.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const page = 'docs/reliability.md';
const [folder = ''] = process.argv.slice(2);
const counted = ['operations', 'faults', 'violations'];

const sections = new Map();
const byNumber = (a, b) => a.localeCompare(b, 'en', { numeric: true });
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
for (const file of files.toSorted(byNumber)) {
  const [name] = file.split('.');
  const part = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const section = sections.get(name) ?? { ...part, rows: [], operations: 0, faults: 0, violations: 0 };
  section.rows.push(...part.rows);
  for (const count of counted) section[count] += part[count];
  sections.set(name, section);
}

let text = readFileSync(page, 'utf8');
for (const [name, section] of sections) {
  const end = `<!-- end of ${name} -->`;
  const block = [
    `<!-- ${name} ${counted.map((count) => `${count}=${section[count]}`).join(' ')} -->`,
    `## ${section.title}`,
    section.about,
    `${counted.map((count) => `${section[count]} ${count}`).join(', ')}.`,
    table(section.columns, section.rows),
    end,
  ].join('\n\n');
  const earlier = new RegExp(`<!-- ${name} operations.*?${end}`, 's');
  text = earlier.test(text) ? text.replace(earlier, () => block) : `${text.trimEnd()}\n\n${block}\n`;
}
const found = [...text.matchAll(/<!-- \S+ operations=(\d+) faults=(\d+) violations=(\d+) -->\n\n## (.*)/g)];
const summary = found.map(([, operations, faults, violations, title]) => [title, operations, faults, violations]);
const sums = [1, 2, 3].map((column) => String(summary.reduce((sum, row) => sum + Number(row[column]), 0)));
const all = table(['what is broken', ...counted], [...summary, ['**all**', ...sums]]);
writeFileSync(
  page,
  text.replace(/(?<=<!-- all -->\n).*?(?=<!-- end of all -->)/s, () => `\n${all}\n\n`),
);

function table(columns, rows) {
  return [columns, columns.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
