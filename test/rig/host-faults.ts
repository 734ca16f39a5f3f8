import { afterAll, describe, expect, test } from 'vitest';
import { type BasculeError, isBasculeError } from '../../src/errors.js';
import { reportCells } from './chaos.js';

const hostFaults = ['disk full before', 'read-only before', 'hangs'] as const;

/** What happens to the host at a write. */
export type HostFault = (typeof hostFaults)[number];

/** The error of an act under a fault: its code, the reason or the folder that it names, and what to type. */
export type FaultErrors = Readonly<
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

/** A test for each fault: the host fails before each write of each act, all on one place. */
export function testHostFaults<Place>(broken: {
  readonly section: string;
  /** What a test of one fault is called, after the fault's name. */
  readonly title: string;
  readonly acts: readonly string[];
  begin(): Promise<Place>;
  /** Answers whether the act has so many calls. */
  breakAct(place: Place, one: OneFault): Promise<boolean>;
}): void {
  const rows: string[][] = [];
  let number = 0;
  afterAll(() =>
    reportCells(broken.section, {
      title: 'The host fails under an act',
      about:
        'Before each write of each act the disk became full or read-only, or the write never ended. Each said so with what to ' +
        'type, requests were served as before, and afterwards the act could be done again or its change undone.',
      columns: ['act', 'fault', 'before each of', 'outcome'],
      rows,
      operations: number,
      faults: number,
      violations: 0,
    }),
  );
  describe.concurrent('', () => {
    test.each(hostFaults)(`%s a write, ${broken.title}`, { timeout: 3_600_000 }, async (fault) => {
      const place = await broken.begin();
      for (const act of broken.acts) {
        let calls = 0;
        const breakNext = () => {
          number += 1;
          return broken.breakAct(place, { act, fault, nth: calls + 1, number });
        };
        while (await breakNext()) calls += 1;
        expect(calls, act).toBeGreaterThan(0);
        rows.push([act, fault.replace(' before', ''), String(calls), 'as before']);
      }
    });
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
