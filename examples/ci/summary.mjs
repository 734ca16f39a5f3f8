// summary.mjs FILE: a job summary, as Markdown, of what `bascule deploy --json` printed.
import { readFileSync } from 'node:fs';

const result = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { operation, outcome, code, message, remedy, environment, from, to, durationMs, lost = [], steps = [] } = result;
const release = ({ sha, color }) => (sha === null ? 'nothing' : `\`${sha}\` (${color})`);
const seconds = (ms) => (ms === null ? '' : `${(ms / 1_000).toFixed(1)} s`);
const cell = (text) =>
  String(text ?? '')
    .replaceAll('|', '\\|')
    .replaceAll('\n', ' ');
const mark = outcome === 'succeeded' ? '✅' : '❌';

const lines = [
  `## ${mark} ${operation ?? 'deploy'}: ${outcome}${code ? ` (${code})` : ''}`,
  '',
  ...(outcome === 'succeeded' && from
    ? [`${environment}: ${release(from)} → ${release(to)} in ${seconds(durationMs)}`]
    : ['```', message, '```']),
  ...(outcome !== 'succeeded' && from?.sha ? ['', `${environment} serves ${release(from)} as before.`] : []),
  ...lost.map((what) => `- lost: ${what}`),
  ...(remedy ? ['', `**Next:** ${remedy}`] : []),
];
if (steps.length > 0) {
  lines.push('', '| step | took | |', '| --- | --- | --- |');
  for (const step of steps) lines.push(`| ${cell(step.name)} | ${seconds(step.durationMs)} | ${cell(step.outcome)} |`);
}
process.stdout.write(`${lines.join('\n')}\n`);
