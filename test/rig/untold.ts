import type { InjectedSinks } from '@temporalio/worker';
import type { NoticeSinks } from '../../src/workflows/notices.js';

/** For workers that tell nobody how an operation ended. */
export const untold: InjectedSinks<NoticeSinks> = {
  notices: { ended: { fn: () => undefined, callDuringReplay: false } },
};
