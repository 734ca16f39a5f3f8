import { setTimeout as sleep } from 'node:timers/promises';
import { isProcessAlive } from '../../../src/hosts/process-identity.js';
import { cleanUp } from '../../run/clean.js';
import { restoreLimits, type WatchedRun } from './limits.js';
import { endProcesses } from './remains.js';

// Beside a run on Incus, in a session of its own: waits until the run has ended, however that was, and removes what is left.

const { owner, mark, limits } = JSON.parse(process.env.WATCHED_RUN ?? '') as WatchedRun;
while (await isProcessAlive(owner)) await sleep(500);
// Tests that go on would start another daemon.
await endProcesses(({ variables }) => variables.includes(mark.variable));
await cleanUp(mark);
restoreLimits(limits);
