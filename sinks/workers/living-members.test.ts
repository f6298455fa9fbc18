import { expect, test } from 'vitest';
import { LivingMembers } from './living-members.ts';
import type { MemberRecord } from './membership.ts';

const at = (id: string, beat: number): MemberRecord => {
  return { id, sink: 'lake', host: 'here', pid: 1, beat, atMs: 0, claims: [] };
};
const watch = (isEnded: (member: MemberRecord) => boolean = () => false) =>
  new LivingMembers({ silenceMsMax: 10_000, lookGapMsMax: 2_000, isEnded });
const ids = (members: readonly MemberRecord[]) => members.map(({ id }) => id);

test('a member is gone when its beat stood still for longer than the silence, and back with its next', () => {
  const living = watch();
  for (let second = 0; second <= 10; second += 1) {
    const { gone } = living.look([at('a', 1), at('b', second)], second * 1_000);
    expect(gone).toEqual([]);
  }
  const after = living.look([at('a', 1), at('b', 11)], 11_000);
  expect(ids(after.gone)).toEqual(['a']);
  expect(ids(after.living)).toEqual(['b']);
  expect(ids(living.look([at('a', 2), at('b', 12)], 12_000).living)).toEqual(['a', 'b']);
});

test('who did not look for a minute, frozen itself, takes nobody for silent', () => {
  const living = watch();
  living.look([at('a', 1)], 0);
  expect(living.look([at('a', 1)], 60_000).gone).toEqual([]);
  for (let look = 1; look <= 4; look += 1) living.look([at('a', 1)], 60_000 + look * 2_000);
  expect(ids(living.look([at('a', 1)], 70_000).gone)).toEqual(['a']);
});

test('a member whose process has ended is gone at once, one first seen now is not', () => {
  const living = watch(({ id }) => id === 'dead');
  const { gone } = living.look([at('dead', 5), at('old', 5)], 1_000_000);
  expect(ids(gone)).toEqual(['dead']);
});
