// Writes what the chaos tests found into docs/reliability.md: node script/reliability.mjs FOLDER.
// A section that this run did not report stays as it is.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const page = 'docs/reliability.md';
const [folder = ''] = process.argv.slice(2);
const counted = ['operations', 'faults', 'violations'];

const sections = new Map();
for (const file of readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .toSorted(byNumber)) {
  const [name] = file.split('.');
  const part = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const section = sections.get(name) ?? { ...part, rows: [], operations: 0, faults: 0, violations: 0 };
  for (const row of part.rows) add(section.rows, row);
  for (const count of counted) section[count] += part[count];
  sections.set(name, section);
}

let text = readFileSync(page, 'utf8');
for (const [name, section] of sections) {
  const counts = counted.map((count) => `${count}=${section[count]}`).join(' ');
  const begin = `<!-- ${name} ${counts} -->`;
  const end = `<!-- end of ${name} -->`;
  const block = [
    begin,
    '',
    `## ${section.title}`,
    '',
    section.about,
    '',
    `${counted.map((count) => `${section[count]} ${count}`).join(', ')}.`,
    '',
    ...table(section.columns, section.rows),
    '',
    end,
  ].join('\n');
  const earlier = new RegExp(`<!-- ${name} operations.*?${end}`, 's');
  if (earlier.test(text)) text = text.replace(earlier, () => block);
  else text = `${text.trimEnd()}\n\n${block}\n`;
}
writeFileSync(
  page,
  text.replace(/(?<=<!-- all -->\n).*?(?=<!-- end of all -->)/s, () => `\n${summary().join('\n')}\n\n`),
);

/** Where parts tell of other places in the same row, each fills what the other left empty. */
function add(rows, row) {
  const index = rows.findIndex(
    (other) =>
      [...row, ...other].includes('') &&
      other.every((cell, column) => [row[column], ''].includes(cell) || row[column] === ''),
  );
  if (index === -1) rows.push(row);
  else rows[index] = rows[index].map((cell, column) => cell || row[column]);
}

function summary() {
  const found = [...text.matchAll(/<!-- \S+ operations=(\d+) faults=(\d+) violations=(\d+) -->\n\n## (.*)/g)];
  const rows = found.map(([, operations, faults, violations, title]) => [title, operations, faults, violations]);
  const sums = [1, 2, 3].map((column) => String(rows.reduce((sum, row) => sum + Number(row[column]), 0)));
  return table(['what is broken', ...counted], [...rows, ['**all**', ...sums]]);
}

function table(columns, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)];
}

function byNumber(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}
