import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import type { MemberRecord } from '../../sinks/workers/membership.ts';
import { workerStatuses } from './read-status.ts';

const nowMs = 1_000_000;
const member = (more: Partial<MemberRecord>): MemberRecord => {
  return {
    id: '',
    sink: 'lake',
    host: 'far',
    pid: 7,
    beat: 1,
    atMs: nowMs - 400,
    claims: [],
    ...more,
  };
};

test('a worker loads or stands by, is silent after ten seconds, and has ended with its process', () => {
  const claims = [
    { share: 2, epoch: 4 },
    { share: 0, epoch: 9 },
  ];
  // The greatest id that Linux gives is 4,194,304.
  const ended = { host: hostname(), pid: 4_194_305, claims };
  const statuses = workerStatuses(
    [
      member({}),
      member({ pid: 8, claims }),
      member({ pid: 9, atMs: nowMs - 12_000 }),
      member(ended),
    ],
    nowMs,
  );
  expect(statuses.map(({ pid, state, shares }) => ({ pid, state, shares }))).toEqual([
    { pid: 8, state: 'loading', shares: [0, 2] },
    { pid: ended.pid, state: 'ended', shares: [0, 2] },
    { pid: 7, state: 'standby', shares: [] },
    { pid: 9, state: 'silent', shares: [] },
  ]);
});
