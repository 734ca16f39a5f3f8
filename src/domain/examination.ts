/** What `bascule doctor` finds. Others build on these shapes (`schemaVersion: 1`): fields are added, never renamed. */

export interface Finding {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

export interface CheckReport {
  readonly name: string;
  /** What was seen, where that is worth saying. */
  readonly note: string | null;
  /** What is missing or different; none where all is well, or where it was not checked. */
  readonly findings: readonly Finding[];
  /** Why it could not be checked: what it depends on is a finding of another check. Null where it was. */
  readonly notChecked: string | null;
}

/** How much of the disk something takes. */
export interface DiskUsage {
  readonly what: string;
  readonly path: string;
  readonly bytes: number;
}

/** What was found on the machine of the edge and the instances. */
export interface Examination {
  /** When, by that machine's clock, RFC 3339. */
  readonly at: string;
  /** How far Temporal's clock is ahead of that machine's, in ms; null where nobody asked Temporal. */
  readonly temporalAheadMs: number | null;
  readonly checks: readonly CheckReport[];
  readonly usage: readonly DiskUsage[];
}
