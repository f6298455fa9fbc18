import { expect, test } from 'vitest';
import { emitFence } from './emit-fence.ts';
import type { SnapshotSession } from './snapshot-session.ts';

test.each([
  [170_000, ['(false, $1, $2::text, true)']],
  // The commit of the second, transactional message flushes the first.
  [160_004, ['(false, $1, $2::text)', `(true, $1, '')`]],
])('on server version %i the fence is flushed', async (serverVersion, expected) => {
  const sent: string[] = [];
  const session: SnapshotSession = {
    serverVersion,
    query: async (sql) => {
      sent.push(sql);
      return [];
    },
    run: async () => undefined,
    copy: async () => undefined,
    close: async () => undefined,
  };
  await emitFence(session, 'life:1');
  expect(sent.map((sql) => /\(.*\)/.exec(sql)?.[0])).toEqual(expected);
});
