import type { Command } from 'commander';
import type { CertificateState, CertificatesStatus } from '../domain/issuance.js';
import { formatClock } from './format.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

export function addCertificatesStatus(group: Command, invocation: Invocation): void {
  group
    .command('status')
    .summary('what there is, until when, and what is served')
    .description(
      'Each certificate that bascule.yaml asks for: until when it is valid, who issued it, and what is served.',
    )
    .usage('[options]')
    .addHelpText('after', '\nExample:\n  $ bascule certs status')
    .action(async () => {
      const project = await invocation.project();
      const status = await invocation.withClient((client) => look(client, project, { what: 'certificates' }));
      invocation.output.answer(status, describe(invocation.output.out, status));
    });
}

const hourMs = 60 * 60 * 1000;
const dayMs = 24 * hourMs;

function describe(colors: Colors, status: CertificatesStatus): string {
  const { dim, cyan, red, yellow } = colors;
  const refused = status.refused.map(
    ({ file, reason }) => `${red('✗')} ${file}: ${reason}; HAProxy loads nothing until then`,
  );
  if (status.certificates.length === 0 && refused.length === 0) return 'bascule.yaml asks for no certificate.';
  const bad = status.certificates.filter(({ state }) => state !== 'valid');
  const next = status.isPaused
    ? yellow('the schedule of renewals is paused: `temporal schedule toggle --unpause`')
    : status.nextRenewal === null
      ? null
      : dim(`looked at next ${formatClock(status.nextRenewal)}`);
  return [
    ...columns(status.certificates.map((certificate) => row(colors, certificate))),
    ...refused,
    ...(next ? [next] : []),
    ...(bad.length > 0 && status.ca !== null
      ? [`${cyan('→')} bascule certs ${bad.every(({ state }) => state === 'due') ? 'renew' : 'issue'}`]
      : []),
  ].join('\n');
}

function row({ green, red, yellow, dim }: Colors, { name, names, state, certificate }: CertificateState): string[] {
  const mark = state === 'valid' ? green('●') : state === 'due' ? yellow('●') : red('●');
  const aliases = names.slice(1);
  const also = aliases.length > 0 ? dim(`+ ${aliases.join(', ')}`) : '';
  if (!certificate) return [mark, name, also, state];
  const leftMs = Date.parse(certificate.notAfter) - Date.now();
  const days = Math.floor(leftMs / dayMs);
  const until = `until ${certificate.notAfter.slice(0, 10)}`;
  const left = days < 0 ? `${-days} days ago` : days < 2 ? `${Math.floor(leftMs / hourMs)} hours` : `${days} days`;
  return [mark, name, also, state, until, dim(left), dim(certificate.issuer), dim(`serial ${certificate.serial}`)];
}
