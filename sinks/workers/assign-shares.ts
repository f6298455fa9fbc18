import { assert } from '../../runtime/assert.ts';
import type { MemberRecord } from './membership.ts';

export interface AssignmentInput {
  /** Ids of the living workers, in any order, each once. */
  readonly workers: readonly string[];
  readonly shareCount: number;
  /** share → the living worker that has it. */
  readonly holders: ReadonlyMap<number, string>;
}

/**
 * Which worker is to have which share: every share has one, no worker has two more than another, and
 * as few shares move as that allows. Workers that see the same members come to the same result.
 */
export function assignShares(input: AssignmentInput): ReadonlyMap<number, string> {
  const { workers, shareCount, holders } = input;
  if (workers.length === 0) return new Map();
  const kept = new Map<string, number[]>(workers.toSorted().map((worker) => [worker, []]));
  for (let share = 0; share < shareCount; share += 1) {
    kept.get(holders.get(share) ?? '')?.push(share);
  }
  const least = Math.floor(shareCount / workers.length);
  const larger = shareCount % workers.length;
  // Those who have most get the larger quotas, so that nothing moves that need not.
  const ranked = [...kept].toSorted((a, b) => b[1].length - a[1].length);
  const quotas = ranked.map(([worker, shares], rank) => {
    return { worker, shares, quota: least + (rank < larger ? 1 : 0) };
  });
  const assigned = new Map<number, string>();
  for (const { worker, shares, quota } of quotas) {
    for (const share of shares.slice(0, quota)) assigned.set(share, worker);
  }
  const open = quotas.flatMap(({ worker, shares, quota }) =>
    Array.from({ length: Math.max(0, quota - shares.length) }, () => worker),
  );
  for (let share = 0; share < shareCount; share += 1) {
    if (assigned.has(share)) continue;
    const worker = open.shift();
    assert(worker !== undefined, 'the quotas add up to the shares');
    assigned.set(share, worker);
  }
  return assigned;
}

/** share → who has it, of members that live: the claim of the highest epoch, then of the lowest id. */
export function holdersOf(members: readonly MemberRecord[]): ReadonlyMap<number, string> {
  const best = new Map<number, { readonly id: string; readonly epoch: number }>();
  for (const { id, claims } of members) {
    for (const { share, epoch } of claims) {
      const other = best.get(share);
      const isBetter =
        other === undefined || other.epoch < epoch || (other.epoch === epoch && id < other.id);
      if (isBetter) best.set(share, { id, epoch });
    }
  }
  return new Map([...best].map(([share, { id }]) => [share, id]));
}

/** What a worker is to do about its shares. */
export interface ShareDecision {
  /** To let go of, after the batch under way: another has it, or is to have it. */
  readonly drop: readonly number[];
  /** Free and meant for this worker: to claim now, and to open if the claim still stands afterwards. */
  readonly claim: readonly number[];
}

/** Decides for the worker `me`, which is one of the living members. */
export function decideShares(
  me: string,
  members: readonly MemberRecord[],
  shareCount: number,
): ShareDecision {
  const holders = holdersOf(members);
  // Of two that want all, the lower id; the other waits for its end.
  const alone = members
    .flatMap(({ id, wantsAll }) => (wantsAll === true ? [id] : []))
    .toSorted()[0];
  const workers = alone === undefined ? members.map(({ id }) => id) : [alone];
  const assigned = assignShares({ workers, shareCount, holders });
  const mine = new Set(members.find(({ id }) => id === me)?.claims.map(({ share }) => share) ?? []);
  const isMine = (share: number) => assigned.get(share) === me && holders.get(share) === me;
  return {
    drop: [...mine].filter((share) => !isMine(share)),
    // A share that another living worker has is let go of by it first.
    claim: [...assigned].flatMap(([share, worker]) =>
      worker === me && !holders.has(share) ? [share] : [],
    ),
  };
}
