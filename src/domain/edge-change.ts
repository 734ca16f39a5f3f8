import type { KeyKind } from './certificates.js';
import type { Color, EnvironmentState, HistoryLine } from './edge-state.js';
import { newestWithin } from './newest.js';

/** What may be asked of the edge. One change is one HAProxy configuration, installed and proven, or nothing. */
export type EdgeChange = ColorChange | StandDown | ApplyChange | CertificatesChange;

/** Whether it is about one environment; the others are about all that the edge serves. */
export const isOfEnvironment = (change: EdgeChange): change is ColorChange | StandDown => 'environment' in change;

interface AnyChange {
  /** Who asks and for which step, such as `demo/prod/deploy/7@<run id>/switch`: the same id is the same change. */
  readonly id: string;
  /** Id of the operation that asks, or of the change itself where a person asks directly. */
  readonly operation: string;
  /** Take-backs and rollbacks go before whatever waits. */
  readonly urgent?: boolean;
  /** Mend drift and `needs-operator` instead of refusing them. */
  readonly repair?: boolean;
  /** Only say what would change. */
  readonly dryRun?: boolean;
}

/** Makes `to` the active color. Refused unless `from` is active. */
export interface ColorChange extends AnyChange {
  readonly kind: 'color';
  readonly environment: string;
  readonly from: Color;
  readonly to: Color;
  /** The release that `to` holds; null only on the way back to a color that never had one. */
  readonly sha: string | null;
  /** `push` adds a line to the history, `back` removes the lines above (color, sha). */
  readonly history: 'push' | 'back';
  /** A full rollback: the line of `sha` may name the other color, and is rewritten. */
  readonly rewrite?: boolean;
}

/** Nobody falls back to the inactive color from here on. */
export interface StandDown extends AnyChange {
  readonly kind: 'stand-down';
  readonly environment: string;
}

/** Puts the worker's bascule.yaml in force. */
export interface ApplyChange extends AnyChange {
  readonly kind: 'apply';
  /** Also where hosts have no certificate yet; else it is refused as `certificates-missing`. */
  readonly skipCertificates?: boolean;
}

/** Puts certificates in force that were obtained: done when the edge serves them. */
export interface CertificatesChange extends AnyChange {
  readonly kind: 'certificates';
  /** None where the edge has only to learn how to answer challenges. */
  readonly certificates: readonly ObtainedCertificate[];
}

/** A certificate that lies on the edge's host, with its key, and is to be installed there. */
export interface ObtainedCertificate {
  /** Of its file, without `.pem`. */
  readonly name: string;
  /** Host names that it is for. */
  readonly names: readonly string[];
  readonly key: KeyKind;
  /** Lower-case hexadecimal. */
  readonly serial: string;
  /** SHA-256 of key, certificate and chain as PEM. */
  readonly sha256: string;
}

export type DriftKind =
  | 'hand-edited'
  | 'not-running'
  /** It runs, and can't be asked. */
  | 'silent'
  | 'other-configuration-running'
  | 'color-file'
  | 'history-file'
  | 'template'
  | 'header';

export interface Drift {
  readonly kind: DriftKind;
  /** What differs, where, for a person. */
  readonly message: string;
  /** What to do, where `bascule apply --repair` does not mend it. */
  readonly remedy?: string;
}

/** How a pool of the edge answered a probe: by which server, with which status (0: no answer). */
export interface PoolAnswer {
  readonly server: string | null;
  readonly status: number;
}

/** What readEdge found: all that the later steps and their take-backs go by. */
export interface EdgeRecord {
  /** Content of `<state>/generation`, null where there is none. */
  readonly claim: string | null;
  /** The installed haproxy.cfg, null where there is none. */
  readonly installed: {
    readonly generation: number;
    readonly digest: string;
    /** Version of Bascule that rendered it. */
    readonly version: string;
  } | null;
  /** The configuration that HAProxy serves, null where it does not run. */
  readonly running: { readonly pid: number; readonly generation: number; readonly digest: string } | null;
  /** What is in force (by the precedence of the process over the header over the color files). */
  readonly states: readonly EnvironmentState[];
  readonly histories: Readonly<Record<string, readonly HistoryLine[]>>;
  /** SHA-256 of applied.json, null where there is none. */
  readonly applied: string | null;
  readonly drift: readonly Drift[];
  /** Content of `<state>/needs-operator`, null where there is none. */
  readonly needsOperator: string | null;
  /** By `<environment>/<component>`. */
  readonly pools: Readonly<Record<string, PoolAnswer>>;
  /** SHA-256 of the installed file of each certificate that the change is about, null where there is none. */
  readonly certificates?: Readonly<Record<string, string | null>>;
}

/** What renderConfig answers. */
export interface RenderPlan {
  readonly digest: string;
  readonly states: readonly EnvironmentState[];
  readonly histories: Readonly<Record<string, readonly HistoryLine[]>>;
  /** SHA-256 of the applied.json that belongs to it; differs from the record's only for `apply`. */
  readonly applied: string;
  readonly changed: boolean;
  /** Unified diff against the installed file, without header and the three setenv lines; cut at 64 kB. */
  readonly diff: string;
  /** Set where another version of Bascule installed the file and this one's template says it differently. */
  readonly templateChange: string | null;
}

/** The number and owner that every act of a change passes; the host refuses an act whose claim is not the one in force. */
export interface Claim {
  readonly number: number;
  readonly owner: string;
}

/** What a take-back goes by: what readEdge put on record, and who takes back whom. */
export interface TakeBack {
  readonly change: EdgeChange;
  readonly record: EdgeRecord;
  readonly doOwner: string;
  readonly undoOwner: string;
}

export interface StepReport {
  readonly name: string;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly durationMs: number | null;
  readonly outcome: 'running' | 'done' | 'failed' | 'skipped' | 'taken back' | 'take-back failed';
  /** What it found worth saying. */
  readonly note?: string;
}

export interface EdgeChangeResult {
  readonly id: string;
  readonly outcome: 'succeeded' | 'failed' | 'needs-operator' | 'withdrawn';
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string | null;
  readonly changed: boolean;
  /** Generation in force after the change, null where the edge has no configuration. */
  readonly generation: number | null;
  readonly diff: string;
  /** What a repair mends, or would mend. */
  readonly mends?: readonly string[];
  /** When the reload that put it in force was proven, RFC 3339; null where nothing was reloaded. */
  readonly reloadedAt: string | null;
  readonly steps: readonly StepReport[];
}

/** Answer of the Query `change` of `edge`. */
export type EdgeChangeAnswer =
  | { readonly state: 'ended'; readonly result: EdgeChangeResult }
  | { readonly state: 'running' }
  | { readonly state: 'queued'; readonly position: number }
  | { readonly state: 'unknown' };

/** What became of changes, by their ids, and when. */
export type EndedChanges = Readonly<Record<string, { readonly result: EdgeChangeResult; readonly at: number }>>;

/** A diff has up to 64 kB, what else there is about 1 kB. */
const handedOverCharacters = { whole: 200_000, all: 600_000 } as const;

/**
 * Of a day's answers what one run of `edge` hands to the next: the newest as they are, older ones without their diff. With
 * about 500 changes a day and more, the oldest are left out.
 */
export function handedOver(ended: EndedChanges): EndedChanges {
  const withoutDiffs = Object.entries(ended).map(([id, { result, at }]) => [
    id,
    { result: { ...result, diff: '' }, at },
  ]);
  const whole = newestWithin(ended, handedOverCharacters.whole);
  return newestWithin({ ...Object.fromEntries(withoutDiffs), ...whole }, handedOverCharacters.all);
}
