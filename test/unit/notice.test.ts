import { expect, test } from 'vitest';
import { noticeOf } from '../../src/domain/notice.js';

const ended = { operation: 'shop/prod/deploy/7', environment: 'prod', kind: 'deploy', changed: true } as const;

test('what is told of a success is what it says, with its project', () => {
  const notice = noticeOf({
    ...{ ...ended, outcome: 'succeeded', code: null, remedy: null },
    message: 'prod serves abcdef0 (green)',
  });
  expect(notice).toMatchObject({ project: 'shop', environment: 'prod', text: '✔ shop: prod serves abcdef0 (green)' });
});

test('of a failure its code, and what to type', () => {
  const notice = noticeOf({
    ...{ ...ended, outcome: 'failed', code: 'migration-failed', message: 'it ended with 1' },
    remedy: '`bascule logs prod api`',
  });
  expect(notice?.text).toBe(
    '✘ shop/prod/deploy/7 failed (migration-failed): it ended with 1\n→ `bascule logs prod api`',
  );
});

test('of what did nothing nobody is told', () => {
  const nothing = { ...ended, outcome: 'succeeded', code: null, message: 'nothing is due', remedy: null } as const;
  expect(noticeOf({ ...nothing, changed: false })).toBeNull();
});
