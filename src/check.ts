import type { CheckReport, Finding } from './domain/examination.js';
import { BasculeError, isBasculeError } from './errors.js';

/** Longer than any check takes that is not stuck. */
const checkMs = 15_000;

/** That a check can't be made, and because of what: another check finds that. */
export class NotChecked {
  constructor(readonly because: string) {}
}

/** Runs one check within its time; what it throws, and what it answers as a list, are findings. */
export async function check(
  name: string,
  run: () => Promise<string | null | readonly BasculeError[] | NotChecked>,
): Promise<CheckReport> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    const error = new BasculeError('command-timed-out', { host: 'localhost', program: name, timeoutMs: checkMs });
    timer = setTimeout(() => reject(error), checkMs);
  });
  try {
    const seen = await Promise.race([run(), tooLong]);
    if (seen instanceof NotChecked) return notChecked(name, seen.because);
    if (seen === null || typeof seen === 'string') return { name, note: seen, findings: [], notChecked: null };
    return { name, note: null, findings: seen.map(findingOf), notChecked: null };
  } catch (error) {
    return { name, note: null, findings: [findingOf(error)], notChecked: null };
  } finally {
    clearTimeout(timer);
  }
}

/** The report of a check that could not be made. */
export const notChecked = (name: string, because: string): CheckReport => ({
  ...{ name, note: null, findings: [], notChecked: because },
});

function findingOf(error: unknown): Finding {
  if (isBasculeError(error)) return { code: error.code, message: error.message, remedy: error.remedy };
  const said = error instanceof Error ? error.message : String(error);
  return {
    code: 'unforeseen',
    message: `this could not be checked: ${said}`,
    remedy: 'See what it says, then try again.',
  };
}
