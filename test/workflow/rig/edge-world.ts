import { ApplicationFailure } from '@temporalio/activity';
import type { EdgeChange, EdgeRecord, RenderPlan, TakeBack } from '../../../src/domain/edge-change.js';
import { planChange } from '../../../src/domain/edge-plan.js';
import { type Color, type EnvironmentState, type HistoryLine, neverDeployed } from '../../../src/domain/edge-state.js';
import type { Faults } from './faults.js';

type Histories = Readonly<Record<string, readonly HistoryLine[]>>;

/** A configuration file of the edge. */
interface Installed {
  readonly generation: number;
  readonly digest: string;
  readonly version: string;
  readonly states: readonly EnvironmentState[];
  /** Whether it answers the challenges of an authority. */
  readonly answers: boolean;
}

/** What the edge's files say besides the configuration itself. */
interface Recorded {
  readonly colors: Readonly<Record<string, Color>>;
  readonly histories: Histories;
}

export const edgeActivityNames = [
  'readEdge',
  'renderConfig',
  'stageConfig',
  'unstageConfig',
  'installConfig',
  'restoreConfig',
  'reloadEdge',
  'reloadRestored',
  'verifyTraffic',
  'recordColor',
  'restoreColors',
  'markNeedsOperator',
] as const;

/** What operations called, in order, without the steps of the edge's own changes and the look-up of the environment. */
export const operationCalls = ({ faults }: { readonly faults: Faults }): string[] =>
  faults.calls.filter(
    (call) => call !== 'knownEnvironments' && !edgeActivityNames.some((name) => call.startsWith(name)),
  );

/** One edge in memory: its files, the process that serves, and the fence around both. */
export class EdgeWorld {
  claim: string | null = null;
  staged: Installed | null = null;
  installed: Installed;
  /** The configuration that visitors are served by. */
  running: Installed;
  recorded: Recorded;
  needsOperator: string | null = null;
  reloads = 0;
  /** The change that was begun last: they come one at a time. */
  change: EdgeChange | null = null;
  /** Whether all servers of a color answer their checks. */
  isUp: (environment: string, color: Color) => boolean = () => true;
  /** SHA-256 of each certificate that is installed, by its name. */
  certificates: Readonly<Record<string, string>> = {};
  /** Names of those that HAProxy does not read. */
  readonly refusedCertificates = new Set<string>();
  private readonly kept = new Map<number, Installed>();
  private configured: readonly string[];

  /** @param environments the first one is what tests act on */
  constructor(environments: readonly string[]) {
    this.configured = environments;
    this.installed = fileOf(1, environments.map(neverDeployed));
    this.running = this.installed;
    this.recorded = recordOf(this.installed.states, {});
  }

  /** Makes it look as if releases had been deployed, oldest first, each to the other color. */
  holds(environment: string, ...shas: readonly string[]): void {
    const lines: HistoryLine[] = shas.map((sha, index) => ({
      at: '2026-01-01T00:00:00.000Z',
      color: index % 2 === 0 ? 'green' : 'blue',
      sha,
    }));
    const [top, below] = lines.reverse();
    if (!top) return;
    const state = { name: environment, color: top.color, sha: top.sha, standby: below?.sha ?? null };
    const states = this.installed.states.map((one) => (one.name === environment ? state : one));
    this.installed = fileOf(this.installed.generation + shas.length, states);
    this.running = this.installed;
    this.recorded = recordOf(states, { ...this.recorded.histories, [environment]: lines });
  }

  /** As if certificates had been installed before. */
  holdsCertificates(...names: readonly string[]): void {
    this.certificates = Object.fromEntries(names.map((name) => [name, `of ${name}`]));
  }

  /** As if nobody had asked an authority for anything yet. */
  answersNoChallenges(): void {
    this.installed = fileOf(this.installed.generation, this.installed.states, false);
    this.running = this.installed;
  }

  /** One more environment in bascule.yaml, which an apply puts in force. */
  configures(environment: string): void {
    this.configured = [...this.configured, environment];
  }

  /** What visitors of an environment are served. */
  serves(environment: string): EnvironmentState {
    return this.running.states.find((state) => state.name === environment) ?? neverDeployed(environment);
  }

  /** Everything that a change which was taken back must leave as it was; generations only grow. */
  picture() {
    const { installed, running, recorded, staged, certificates } = this;
    return {
      certificates,
      installed: installed.digest,
      running: running.digest,
      recorded,
      staged,
      needsOperator: this.needsOperator,
    };
  }

  readonly activities = {
    readEdge: async ({ change }: { change: EdgeChange }): Promise<EdgeRecord> => {
      this.change = change;
      const record = this.record();
      this.refuse(change, record);
      const found = certificatesOf(change).map(({ name }) => [name, this.certificates[name] ?? null] as const);
      return { ...record, certificates: Object.fromEntries(found) };
    },

    renderConfig: async (step: { change: EdgeChange; record: EdgeRecord; at: string }): Promise<RenderPlan> => {
      // An apply alone puts in force what bascule.yaml says.
      const applied = step.record.states.map(({ name }) => name);
      const environments = step.change.kind === 'apply' ? this.configured : applied;
      const plan = planChange(step.change, step.record, environments, step.at);
      const { digest } = fileOf(0, plan.states, this.answersAfter(step.change));
      const brings = certificatesOf(step.change).some(
        ({ name, sha256 }) => step.record.certificates?.[name] !== sha256,
      );
      const changed = brings || digest !== step.record.installed?.digest;
      return {
        ...plan,
        digest,
        changed,
        applied: 'applied',
        diff: changed ? '-old\n+new\n' : '',
        templateChange: null,
      };
    },

    stageConfig: async (step: { change: EdgeChange; record: EdgeRecord; plan: RenderPlan; owner: string }) => {
      const number = this.take(step.owner, [step.record.claim]);
      const refused = certificatesOf(step.change).find(({ name }) => this.refusedCertificates.has(name));
      if (refused) throw broken('haproxy-refused', `${refused.name} is none`);
      if (this.installed.generation !== number) {
        this.staged = fileOf(number, step.plan.states, this.answersAfter(step.change));
      }
      return { number, owner: step.owner };
    },

    unstageConfig: async (takeBack: TakeBack) => {
      this.takeUndo(takeBack);
      this.staged = null;
    },

    installConfig: async ({ change, claim }: { change: EdgeChange; claim: { number: number; owner: string } }) => {
      this.require(claim);
      const brought = certificatesOf(change).map(({ name, sha256 }) => [name, sha256] as const);
      this.certificates = { ...this.certificates, ...Object.fromEntries(brought) };
      if (!this.staged) return;
      this.kept.set(this.installed.generation, this.installed);
      this.installed = this.staged;
      this.staged = null;
    },

    restoreConfig: async (takeBack: TakeBack) => {
      const number = this.takeUndo(takeBack);
      for (const { name } of certificatesOf(takeBack.change)) {
        const { [name]: _, ...others } = this.certificates;
        const before = takeBack.record.certificates?.[name];
        this.certificates = before ? { ...others, [name]: before } : others;
      }
      const earlier = takeBack.record.installed;
      if (!earlier || this.installed.digest === earlier.digest) return;
      const kept = this.kept.get(earlier.generation);
      if (!kept) throw broken('edge-file-missing', `generation ${earlier.generation} is not kept`);
      this.installed = { ...kept, generation: number };
    },

    reloadEdge: async ({ claim }: { claim: { number: number; owner: string } }) => {
      this.require(claim);
      this.reload();
      return { reloadedAt: new Date().toISOString() };
    },

    reloadRestored: async (takeBack: TakeBack) => {
      this.takeUndo(takeBack);
      if (this.installed.digest !== takeBack.record.installed?.digest) {
        throw broken('reload-failed', 'the earlier file is not installed');
      }
      this.reload();
    },

    verifyTraffic: async ({ plan }: { plan: RenderPlan }) => {
      if (this.running.digest !== plan.digest) throw broken('traffic-wrong', 'HAProxy serves something else');
    },

    recordColor: async (step: { change: EdgeChange; plan: RenderPlan; claim: { number: number; owner: string } }) => {
      this.require(step.claim);
      this.recorded = recordOf(step.plan.states, step.plan.histories);
      if (step.change.repair) this.needsOperator = null;
    },

    restoreColors: async (takeBack: TakeBack) => {
      this.takeUndo(takeBack);
      this.recorded = recordOf(takeBack.record.states, takeBack.record.histories);
    },

    markNeedsOperator: async (mark: { message: string; remedy: string }) => {
      this.needsOperator = mark.message;
    },
  };

  record(): EdgeRecord {
    const { generation, digest, version, states } = this.installed;
    return {
      claim: this.claim,
      installed: { generation, digest, version },
      running: { pid: 1000 + this.reloads, generation: this.running.generation, digest: this.running.digest },
      states,
      histories: this.recorded.histories,
      applied: 'applied',
      drift: [],
      needsOperator: this.needsOperator,
      pools: {},
    };
  }

  private answersAfter({ kind }: EdgeChange): boolean {
    return this.installed.answers || kind === 'certificates' || kind === 'apply';
  }

  private refuse(change: EdgeChange, record: EdgeRecord): void {
    if (record.needsOperator && !change.repair) throw broken('edge-needs-operator', record.needsOperator);
    if (change.kind !== 'color') return;
    const active = record.states.find((state) => state.name === change.environment)?.color;
    if (active !== change.from) throw broken('active-color-changed', `${change.from} is not active`);
    // The way back to a color that never had a release is exempt.
    if (change.to === active || change.sha === null || this.isUp(change.environment, change.to)) return;
    throw broken('color-not-up', `${change.to} is not UP`);
  }

  private reload(): void {
    if (this.running === this.installed) return;
    this.running = this.installed;
    this.reloads += 1;
  }

  /** The fence: compare and set, by owners; the number only grows. */
  private take(owner: string, expected: readonly (string | null)[]): number {
    const [number = '0', held] = (this.claim ?? '').split(' ');
    if (held === owner) return Number(number);
    if (!expected.includes(this.claim)) throw broken('edge-claimed', `the edge is claimed by ${this.claim}`);
    const next = Math.max(Number(number), this.installed.generation) + 1;
    this.claim = `${next} ${owner}`;
    return next;
  }

  private takeUndo({ record, doOwner, undoOwner }: TakeBack): number {
    const isDoing = this.claim?.endsWith(` ${doOwner}`);
    return this.take(undoOwner, isDoing ? [this.claim] : [record.claim]);
  }

  private require({ number, owner }: { number: number; owner: string }): void {
    if (this.claim !== `${number} ${owner}`) throw broken('edge-claimed', `the edge is claimed by ${this.claim}`);
  }
}

const certificatesOf = (change: EdgeChange) => (change.kind === 'certificates' ? change.certificates : []);

export function broken(type: string, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message, nonRetryable: true, details: [{ remedy: null }] });
}

function fileOf(generation: number, states: readonly EnvironmentState[], answers = true): Installed {
  return { generation, digest: JSON.stringify({ states, answers }), version: '0.1.0', states, answers };
}

function recordOf(states: readonly EnvironmentState[], histories: Histories): Recorded {
  return { colors: Object.fromEntries(states.map((state) => [state.name, state.color])), histories };
}
