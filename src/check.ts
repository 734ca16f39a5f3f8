import type { CheckReport, Finding } from './domain/examination.js';
import { BasculeError, isBasculeError } from './errors.js';

/** Longer than any check takes that is not stuck. */
const checkMs = 15_000;

/** Runs one check within its time; what it throws, and what it answers as a list, are findings. */
export async function check(
  name: string,
  run: () => Promise<string | null | readonly BasculeError[]>,
): Promise<CheckReport> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    const error = new BasculeError('command-timed-out', { host: 'localhost', program: name, timeoutMs: checkMs });
    timer = setTimeout(() => reject(error), checkMs);
  });
  try {
    const seen = await Promise.race([run(), tooLong]);
    if (seen === null || typeof seen === 'string') return { name, note: seen, findings: [] };
    return { name, note: null, findings: seen.map(findingOf) };
  } catch (error) {
    return { name, note: null, findings: [findingOf(error)] };
  } finally {
    clearTimeout(timer);
  }
}

function findingOf(error: unknown): Finding {
  if (isBasculeError(error)) return { code: error.code, message: error.message, remedy: error.remedy };
  const said = error instanceof Error ? error.message : String(error);
  return {
    code: 'unforeseen',
    message: `this could not be checked: ${said}`,
    remedy: 'See what it says, then try again.',
  };
}
