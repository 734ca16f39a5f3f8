import { expect, vi } from 'vitest';
import { scaled } from '../rig/tier.js';

/** A test's bound of a wait is for two quiet cores; `vi.waitFor` and `expect.poll` take it for this machine. */

const isScaled = Symbol.for('bascule.waits-are-scaled');
const shared = globalThis as { [isScaled]?: true };

// Files of a kind share one process: what the first has wrapped, the next finds so.
if (!shared[isScaled]) {
  shared[isScaled] = true;
  const { waitFor } = vi;
  const { poll } = expect;
  vi.waitFor = (callback, options = 1_000) =>
    waitFor(
      callback,
      typeof options === 'number' ? scaled(options) : { ...options, timeout: scaled(options.timeout ?? 1_000) },
    );
  expect.poll = (read, options = {}) =>
    poll(read, options.timeout === undefined ? options : { ...options, timeout: scaled(options.timeout) });
}
