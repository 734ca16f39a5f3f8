import { proxySinks, type Sinks } from '@temporalio/workflow';
import { type Notice, noticeOf } from '../domain/notice.js';

/** What a worker does beside its workflows: no step of theirs, so that it neither holds one up nor fails it. */
export interface NoticeSinks extends Sinks {
  readonly notices: { ended(notice: Notice): void };
}

const { notices } = proxySinks<NoticeSinks>();

/** Has whom `notify` names told that an operation ended, where it did anything. */
export function tell(ended: Parameters<typeof noticeOf>[0]): void {
  const notice = noticeOf(ended);
  if (notice) notices.ended(notice);
}
