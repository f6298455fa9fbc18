import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignShares, decideShares, holdersOf } from './assign-shares.ts';
import type { MemberRecord, ShareClaim } from './membership.ts';

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const situation = fc
  .record({
    workers: fc.shuffledSubarray(names, { minLength: 1 }),
    shareCount: fc.integer({ min: 1, max: 20 }),
    before: fc.array(fc.constantFrom(...names, null), { minLength: 20, maxLength: 20 }),
  })
  .map(({ workers, shareCount, before }) => ({
    workers,
    shareCount,
    holders: new Map(
      before.slice(0, shareCount).flatMap((worker, share) => {
        return worker !== null && workers.includes(worker) ? [[share, worker] as const] : [];
      }),
    ),
  }));

const countsOf = (shares: ReadonlyMap<number, string>, workers: readonly string[]) =>
  workers.map((worker) => [...shares.values()].filter((owner) => owner === worker).length);

test('every share has one living worker, and no worker two more than another', () => {
  fc.assert(
    fc.property(situation, (given) => {
      const assigned = assignShares(given);
      expect([...assigned.keys()].toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: given.shareCount }, (_, share) => share),
      );
      const counts = countsOf(assigned, given.workers);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(given.shareCount);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }),
  );
});

test('no more shares move than an even division needs', () => {
  fc.assert(
    fc.property(situation, (given) => {
      const { workers, shareCount, holders } = given;
      const assigned = assignShares(given);
      const moved = [...holders].filter(([share, worker]) => assigned.get(share) !== worker);
      // Of all even divisions the one that leaves most in place: the fullest keep one more.
      const held = countsOf(holders, workers).toSorted((a, b) => b - a);
      const needed = held.reduce((sum, count, rank) => {
        const quota = Math.floor(shareCount / workers.length);
        return sum + Math.max(0, count - quota - (rank < shareCount % workers.length ? 1 : 0));
      }, 0);
      expect(moved).toHaveLength(needed);
    }),
  );
});

test('what is assigned stays, and the order in which workers are named says nothing', () => {
  fc.assert(
    fc.property(situation, (given) => {
      const assigned = assignShares(given);
      expect(assignShares({ ...given, holders: assigned })).toEqual(assigned);
      const others = given.workers.toReversed();
      expect(assignShares({ ...given, workers: others })).toEqual(assigned);
    }),
  );
});

test('a lake with one share stays with the worker that has it', () => {
  const holders = new Map([[0, 'b']]);
  expect(assignShares({ workers: ['a', 'b', 'c'], shareCount: 1, holders })).toEqual(holders);
  expect(assignShares({ workers: [], shareCount: 1, holders })).toEqual(new Map());
});

const member = (id: string, ...claims: readonly ShareClaim[]): MemberRecord => {
  return { id, sink: 'lake', host: 'here', pid: 1, beat: 1, atMs: 0, claims };
};

test('of two that claim a share the one with the higher epoch has it, then the one with the lower id', () => {
  const members = [
    member('b', { share: 0, epoch: 4 }, { share: 1, epoch: 0 }, { share: 2, epoch: 7 }),
    member('a', { share: 0, epoch: 3 }, { share: 1, epoch: 0 }, { share: 2, epoch: 7 }),
  ];
  expect(holdersOf(members)).toEqual(
    new Map([
      [0, 'b'],
      [1, 'a'],
      [2, 'a'],
    ]),
  );
});

/** Workers that look one after the other in any order, come and die: what they claim and drop. */
test('in any order of looks all shares end with one worker each, and none is taken from the living', () => {
  const step = fc.record({ who: fc.constantFrom(...names), dies: fc.nat(9) });
  const cases = fc.record({
    steps: fc.array(step, { maxLength: 60 }),
    shareCount: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(cases, ({ steps, shareCount }) => {
      const members = new Map<string, MemberRecord>([['a', member('a')]]);
      let epoch = 0;
      const look = (id: string) => {
        const me = members.get(id) ?? member(id);
        members.set(id, me);
        const { drop, claim } = decideShares(id, [...members.values()], shareCount);
        const kept = me.claims.filter(({ share }) => !drop.includes(share));
        const others = [...members.values()].filter((other) => other.id !== id);
        for (const share of claim) {
          expect(others.flatMap(({ claims }) => claims.map((one) => one.share))).not.toContain(
            share,
          );
        }
        const claims = [
          ...kept.map((one) => (one.epoch === 0 ? { ...one, epoch: (epoch += 1) } : one)),
          ...claim.map((share) => ({ share, epoch: 0 })),
        ];
        members.set(id, { ...me, claims });
      };
      for (const { who, dies } of steps) {
        if (dies === 0 && members.size > 1) members.delete(who);
        else look(who);
      }
      for (let round = 0; round < 4; round += 1) for (const id of members.keys()) look(id);
      const claimed = [...members.values()].flatMap(({ claims }) => claims.map((one) => one.share));
      expect(claimed.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: shareCount }, (_, share) => share),
      );
      const counts = [...members.values()].map(({ claims }) => claims.length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }),
  );
});
