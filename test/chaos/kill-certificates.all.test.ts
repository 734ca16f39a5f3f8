import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CertificatesResult } from '../../src/domain/issuance.js';
import { certificateWorkflowId } from '../../src/domain/names.js';
import type { Endpoint } from '../rig/ca-proxy.js';
import { findElsewhere, secretsOf } from '../rig/certificate-secrets.js';
import { connectTemporal, mustSucceed, restartWhenKilled, type Temporal } from '../rig/chaos.js';
import type { CommandResult } from '../rig/command.js';
import { clearFailPoint, type FailPoint, setFailPoint } from '../rig/fail-point.js';
import { type HttpsProject, startHttpsProject } from '../rig/https-project.js';
import { assertInvariant } from '../rig/invariant.js';
import {
  activitiesOf,
  edgeChange,
  type KillRow,
  type Kind,
  killInRows,
  moments,
  nameOfRow,
  type Row,
  rowsOf,
} from '../rig/kill-matrix.js';
import { replayProblems } from '../rig/kill-stage.js';

/** Rows that one test kills in. */
const rowsOfATest = 8;
/** As many as a test needs: each that is issued is a new one. */
const names = Array.from({ length: 1 + rowsOfATest * moments.length }, (_, index) => `shop-${index}.test`);

/** A kind of operation on one certificate whose worker is killed in each of its activities. */
interface CertificateKind extends Pick<Kind, 'name' | 'activities' | 'killedUpTo'> {
  /** Whether nothing is known of an account. */
  readonly isFirst?: boolean;
  /** Whether it is about a certificate that is served already. */
  readonly isServed: boolean;
  /** `accountKey` is a file with the key of the account that was there before. */
  readonly args: (name: string, accountKey: string) => readonly string[];
  /** Asked of the authority, and how often: the worker is also killed between what it does for that and its answer. */
  readonly asked: readonly (readonly [Endpoint, number])[];
  /** How many orders and accounts the authority has more of afterwards. */
  readonly orders: 0 | 1;
  readonly accounts: 0 | 1;
  readonly ends: Pick<CertificatesResult, 'outcome' | 'changed'>;
}

const obtained = [
  ...['checkNames', 'registerAccount', 'placeOrder', 'answerChallenges', 'finalizeOrder', 'downloadCertificate'],
  ...[...edgeChange, 'closeOrder', 'scheduleLooks'],
];

const issuance: CertificateKind = {
  name: 'certs issue',
  activities: ['planCertificates', ...obtained],
  isServed: false,
  args: (name) => ['certs', 'issue', name],
  asked: [
    ...[['account', 1] as const, ['newOrder', 1] as const, ['authorization', 1] as const, ['challenge', 1] as const],
    ...[['authorization', 2] as const, ['order', 2] as const, ['finalize', 1] as const, ['certificate', 1] as const],
  ],
  orders: 1,
  accounts: 0,
  ends: { outcome: 'succeeded', changed: true },
};

const certificateKinds: readonly CertificateKind[] = [
  issuance,
  {
    ...issuance,
    name: 'certs issue, the first of an account',
    activities: ['planCertificates', ...edgeChange, ...obtained],
    killedUpTo: 'registerAccount',
    isFirst: true,
    // First whether it knows the key, then for an account.
    asked: [
      ['newAccount', 1],
      ['newAccount', 2],
    ],
    accounts: 1,
  },
  {
    ...issuance,
    name: 'certs renew',
    isServed: true,
    args: (name) => ['certs', 'renew', name],
    asked: [
      ['newOrder', 1],
      ['finalize', 1],
    ],
  },
  {
    name: 'certs revoke',
    activities: ['revokeCertificate'],
    isServed: true,
    args: (name) => ['certs', 'revoke', name],
    asked: [['revokeCert', 1]],
    orders: 0,
    accounts: 0,
    ends: { outcome: 'succeeded', changed: false },
  },
  {
    name: 'certs adopt',
    activities: ['adoptCertificates'],
    isFirst: true,
    isServed: true,
    args: (_, accountKey) => ['certs', 'adopt', '--account-key', accountKey],
    asked: [],
    orders: 0,
    accounts: 0,
    ends: { outcome: 'succeeded', changed: false },
  },
];

/** Where the worker is killed: in an activity, or while the authority has done something and not answered yet. */
type Place =
  | (Row & { readonly moment: FailPoint['moment'] })
  | { readonly endpoint: Endpoint; readonly nth: number; readonly moment: 'during' };

const inWords = (place: Place): string =>
  'activity' in place
    ? `${place.moment} ${place.activity} ${place.nth} of ${place.times}`
    : `while its ${place.endpoint} ${place.nth} is answered`;

/** A project whose edge answers challenges, in which one operation on certificates is killed after the other. */
class Stage {
  operations = 0;
  private readonly said: CommandResult[] = [];
  private readonly unused = names.slice(1);
  /** One that is served. */
  private served = names[0];

  private constructor(
    private readonly https: HttpsProject,
    private readonly temporal: Temporal,
  ) {}

  static async start(): Promise<Stage> {
    const https = await startHttpsProject(
      names.map((name) => [name]),
      { failPoints: true },
    );
    try {
      await https.project.startWorker();
      await mustSucceed(https.project, 'apply', '--skip-certificates');
      await mustSucceed(https.project, 'certs', 'issue', ...names.slice(0, 1));
      // Whatever is there already is due.
      const { authority } = https;
      const renewalInfo = authority.directory.replace(/dir$/, 'renewal-info/');
      const suggestedWindow = { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' };
      authority.inject('directory', { change: (directory) => ({ ...directory, renewalInfo }) });
      authority.inject('renewalInfo', { answer: { status: 200, body: { suggestedWindow } } });
      return new Stage(https, await connectTemporal(https.project));
    } catch (error) {
      await https.stop();
      throw error;
    }
  }

  /** Kills the worker in an operation of a kind; throws what is not as it should be afterwards. */
  async run(kind: CertificateKind, place: Place): Promise<void> {
    const { project, pebble, authority } = this.https;
    const name = this.nameFor(kind);
    const accountKey = kind.isFirst ? await this.forgetAccount() : '';
    const before = await this.https.served(name);
    const taken = () => ({ orders: authority.answers('newOrder').length, accounts: accountsAt(pebble) });
    const known = taken();
    await this.arm(place);
    this.operations += 1;
    const running = project.json<CertificatesResult>(...kind.args(name, accountKey));
    const { isKilled, ended } = await restartWhenKilled(project, inWords(place), running);
    await clearFailPoint(project);
    const { exitCode, document, stderr } = ended;
    this.said.push({ exitCode, stdout: JSON.stringify(document), stderr });
    const { outcome, changed } = document;
    expect({ isKilled, exitCode, outcome, changed }, document.message).toEqual({
      ...{ isKilled: true, exitCode: 0 },
      ...kind.ends,
    });
    expect(taken()).toEqual({ orders: known.orders + kind.orders, accounts: known.accounts + kind.accounts });
    const served = await this.https.served(name);
    expect(served?.names).toEqual([name]);
    const [obtained] = document.certificates;
    expect(served?.serial).toBe(kind.orders === 1 ? obtained?.certificate?.serial : before?.serial);
    if (kind.orders === 1) expect(served?.serial).not.toBe(before?.serial);
    if (kind.name === 'certs revoke') expect(await pebble.statusOf(served?.serial ?? '')).toBe('Revoked');
    const children = kind.orders === 1 ? [certificateWorkflowId('demo', name)] : [];
    const ran = await activitiesOf(this.temporal.client, document, children);
    expect(ran.toSorted()).toEqual([...kind.activities].toSorted());
    await assertInvariant(project);
    await this.assertTidy(name);
  }

  /** Looks at what only shows in the end. */
  async end(): Promise<void> {
    expect(await replayProblems(this.temporal.client)).toEqual([]);
    expect(await findElsewhere(this.https, await secretsOf(this.https), this.said)).toEqual([]);
  }

  async stop(): Promise<void> {
    await this.temporal.close();
    await this.https.stop();
  }

  private nameFor({ isServed }: CertificateKind): string {
    const name = isServed ? this.served : this.unused.shift();
    if (!name) throw new Error('a test uses more names than there are');
    this.served = name;
    return name;
  }

  /** Takes the account away, as if it had never been there; answers where its key is now. */
  private async forgetAccount(): Promise<string> {
    const folder = join(this.https.project.directory, '.bascule/edge');
    const earlier = join(folder, 'earlier-account');
    const [account] = (await readdir(join(folder, 'state/acme'))).filter((name) => name.startsWith('account-'));
    if (!account) throw new Error('there is no account');
    await rm(earlier, { recursive: true, force: true });
    await rename(join(folder, 'state/acme', account), earlier);
    return join(earlier, 'key.pem');
  }

  private async arm(place: Place): Promise<void> {
    const { project, authority } = this.https;
    if ('activity' in place) {
      const { activity, moment, nth } = place;
      return await setFailPoint(project, { activity, moment, nth, how: 'kill' });
    }
    const { endpoint, nth } = place;
    if (nth > 1) authority.inject(endpoint, { change: (body) => body }, nth - 1);
    authority.inject(endpoint, { meanwhile: () => project.killWorker() }, 1);
  }

  /** Nothing of an order is left, and nobody else may read the key that came of it. */
  private async assertTidy(name: string): Promise<void> {
    const folder = join(this.https.project.directory, '.bascule/edge');
    const order = join(folder, 'state/acme/certificates', name);
    const left = existsSync(order) ? await readdir(order) : [];
    expect(left.filter((file) => file !== 'renewal.json')).toEqual([]);
    const pem = join(folder, 'certificates', `${name}.pem`);
    expect([((await stat(pem)).mode & 0o777).toString(8), await readFile(pem, 'utf8')]).toEqual([
      '600',
      expect.stringContaining('PRIVATE KEY'),
    ]);
  }
}

const accountsAt = (pebble: HttpsProject['pebble']): number => pebble.log().split(' accounts in memory').length - 1;

interface Line {
  readonly kind: CertificateKind;
  readonly killedIn: string;
  readonly places: readonly Place[];
}

const lines: readonly Line[] = certificateKinds.flatMap((kind) => [
  ...rowsOf(kind).map((row) => ({
    kind,
    killedIn: nameOfRow(row),
    places: moments.map((moment) => ({ ...row, moment })),
  })),
  ...kind.asked.map(([endpoint, nth]) => ({
    kind,
    killedIn: `answer of the authority: ${endpoint}${nth === 1 ? '' : `, ${nth}`}`,
    places: [{ endpoint, nth, moment: 'during' } as const],
  })),
]);

describe('a worker that is killed anywhere in the issuance of a certificate', () => {
  const count = Math.ceil(lines.length / rowsOfATest);
  for (let part = 1; part <= count; part += 1) {
    const own = lines.slice((part - 1) * rowsOfATest, part * rowsOfATest);
    test.concurrent(
      `leaves its order to the next one (part ${part} of ${count})`,
      {
        timeout: 1_800_000,
      },
      () => killInAll(own, part),
    );
  }
});

/** Kills in each place of these lines. */
async function killInAll(own: readonly Line[], part: number): Promise<void> {
  const killRows = own.map(
    ({ kind, killedIn, places }): KillRow<Stage> => ({
      label: [kind.name, killedIn],
      cells: places.map((place) => ({
        name: `${kind.name}: ${inWords(place)}`,
        moment: place.moment,
        run: (stage) => stage.run(kind, place),
      })),
    }),
  );
  await killInRows(killRows, {
    section: `kill-certificates.${part}`,
    table: {
      title: 'The worker is killed in every step of a certificate',
      about:
        'SIGKILL before, during and after each activity, and while the authority (Pebble) has done what it was asked for ' +
        'and has not answered yet; another worker is started. In the end there is one order at the authority for each ' +
        'certificate, its certificate is served by SNI, and no key, request or token is found outside of the folder of ' +
        'the edge.',
      columns: ['operation', 'killed in', ...moments],
    },
    part: `part ${part}`,
    start: Stage.start,
  });
}
