import { afterAll, describe, expect, test } from 'vitest';
import { type BasculeError, isBasculeError } from '../../src/errors.js';
import { chance } from './chaos.js';
import { isWhole, reportCells } from './reliability.js';

const hostFaults = ['disk full before', 'read-only before', 'hangs'] as const;

/** What happens to the host at a write. */
export type HostFault = (typeof hostFaults)[number];

/** What an act under a fault says: its code, the reason or the folder that it names, and what to type. */
export type Told = Readonly<
  Record<HostFault, { readonly code: BasculeError['code']; readonly says: RegExp; readonly remedy: RegExp }>
>;

export interface OneFault {
  readonly act: string;
  readonly fault: HostFault;
  /** Before which call of the act it comes. */
  readonly nth: number;
  /** Of this fault among all. */
  readonly number: number;
}

/** Acts whose host fails before each of their writes, all on one place for each fault. */
export interface BrokenActs<Place> {
  readonly section: string;
  /** What a test of one fault is called, after the fault's name. */
  readonly title: string;
  readonly acts: readonly string[];
  /** So many calls each act has at least. */
  readonly leastCalls: number;
  readonly wholeMs: number;
  begin(): Promise<Place>;
  /** Answers whether the act has so many calls. */
  breakAct(place: Place, one: OneFault): Promise<boolean>;
}

/** A test for each fault; all acts and calls under `make chaos`, else a sample. */
export function testHostFaults<Place>(broken: BrokenActs<Place>): void {
  const { next, shuffled, seed } = chance();
  const rows: string[][] = [];
  let number = 0;
  afterAll(() =>
    reportCells(broken.section, {
      title: 'The host fails under an act',
      about:
        'Before each write of each act the disk became full or read-only, or the write never ended. Each said so with what to type, ' +
        'visitors were served as before, and afterwards the act could be done again or its change taken back.',
      columns: ['act', 'fault', 'before each of', 'outcome'],
      rows,
      operations: number,
      faults: number,
      violations: 0,
    }),
  );
  // What hangs costs the time limit each.
  const actsUnder = (fault: HostFault): readonly string[] =>
    isWhole || fault !== 'hangs' ? broken.acts : shuffled(broken.acts).slice(0, 2);

  describe.concurrent(`(CHAOS_SEED=${seed})`, () => {
    test.each(hostFaults)(
      `%s a write, ${broken.title}`,
      async (fault) => {
        const place = await broken.begin();
        const breakCall = async (act: string, nth: number) => {
          number += 1;
          return await broken.breakAct(place, { act, fault, nth, number });
        };
        for (const act of actsUnder(fault)) {
          let calls = 0;
          const first = isWhole ? 1 : 1 + Math.floor(next() * broken.leastCalls);
          for (let nth = first; await breakCall(act, nth); nth += 1) {
            calls += 1;
            if (!isWhole) break;
          }
          expect(calls, act).toBeGreaterThan(0);
          rows.push([act, fault.replace(' before', ''), String(calls), 'as before']);
        }
      },
      isWhole ? broken.wholeMs : 200_000,
    );
  });
}

/** The error that an act ends with, null where it succeeds. */
export async function errorOf(act: Promise<unknown>): Promise<BasculeError | null> {
  try {
    await act;
    return null;
  } catch (error) {
    if (isBasculeError(error)) return error;
    throw error;
  }
}
