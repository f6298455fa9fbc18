import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { PipelineError } from '../../runtime/errors.ts';
import { pause } from '../../runtime/pause.ts';
import { isEnded } from '../process-state.ts';
import { decideShares } from './assign-shares.ts';
import { LivingMembers } from './living-members.ts';
import type { MemberRecord, Membership } from './membership.ts';

export interface WorkerLimits {
  /** Time between two looks at the other workers, each with an announcement of one's own. */
  readonly lookEveryMs: number;
  /** A worker that did not announce itself for so long has its shares taken over. */
  readonly silenceMsMax: number;
  /** A worker that loads nothing and cannot see the others for longer ends. */
  readonly giveUpAfterMs: number;
}

/** A takeover takes this silence, two looks and the opening of the lake: under 15 s. */
export const silenceMsMax = 10_000;
const defaultWorkerLimits: WorkerLimits = {
  lookEveryMs: 1_000,
  silenceMsMax,
  giveUpAfterMs: Number.POSITIVE_INFINITY,
};

export interface LoadShare {
  /** Aborts when the share is to be let go of: finish the batch under way, close the lake. */
  readonly signal: AbortSignal;
  /** To be called each time the lake was opened. */
  readonly onOpened: (epoch: number) => void;
}

export interface WorkerOptions {
  /** Name of the sink in the configuration. */
  readonly sink: string;
  readonly shareCount: number;
  readonly membership: Membership;
  /** Loads one share until its signal. Fails with `sink-fenced` when another took it over. */
  readonly loadShare: (share: number, load: LoadShare) => Promise<void>;
  /** Takes from a member that is gone what it may still hold on this machine. */
  readonly evict?: (gone: MemberRecord) => Promise<void>;
  readonly limits?: Partial<WorkerLimits>;
  /** The other workers are to hand over all their shares while this one runs. */
  readonly wantsAll?: boolean;
  /** Where the worker runs: this process on this machine unless told otherwise. */
  readonly place?: { readonly host: string; readonly pid: number };
  readonly observer?: WorkerObserver;
}

export interface WorkerObserver {
  /** Told after every look. */
  onLook?(view: WorkerView): void;
  onGone?(member: MemberRecord): void;
  onFenced?(share: number, error: PipelineError): void;
  /** The others cannot be seen; what is loaded goes on. */
  onUnseen?(error: PipelineError): void;
}

/** What a worker knows of itself and the others. */
export interface WorkerView {
  readonly id: string;
  /** The shares that it loads, in order. */
  readonly loading: readonly number[];
  readonly others: readonly MemberRecord[];
}

/**
 * Shares a lake with the other workers of the sink until the signal: loads the shares that fall to it,
 * stands by for the others', takes over from workers that died or froze, and lets go of what newcomers
 * are to have. An error of a share other than `sink-fenced` ends the worker.
 */
export async function runWorker(
  options: WorkerOptions,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const limits = { ...defaultWorkerLimits, ...options.limits };
  const worker = new Worker(options, limits);
  const wake = AbortSignal.any([signal, worker.failed]);
  try {
    while (!wake.aborted) {
      const hasMore = await worker.look();
      if (!hasMore) await pause(limits.lookEveryMs, wake);
    }
  } finally {
    await worker.leave();
  }
  worker.throwIfFailed();
}

interface RunningShare {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

class Worker {
  readonly #options: WorkerOptions;
  readonly #limits: WorkerLimits;
  readonly #living: LivingMembers;
  readonly #id = randomUUID();
  /** share → epoch; 0 until the lake is open. */
  readonly #claims = new Map<number, number>();
  readonly #running = new Map<number, RunningShare>();
  /** share → until when another is left alone with it. */
  readonly #fencedUntilMs = new Map<number, number>();
  readonly #failure = new AbortController();
  #beat = 0;
  #unseenSinceMs: number | null = null;

  constructor(options: WorkerOptions, limits: WorkerLimits) {
    this.#options = options;
    this.#limits = limits;
    this.#living = new LivingMembers({
      silenceMsMax: limits.silenceMsMax,
      lookGapMsMax: 2 * limits.lookEveryMs,
      isEnded: (member) => member.id !== this.#id && isEnded(member),
    });
  }

  /** Aborts when a share failed for good. */
  get failed(): AbortSignal {
    return this.#failure.signal;
  }

  throwIfFailed(): void {
    if (this.failed.aborted) throw this.failed.reason;
  }

  /** Announces this worker, looks at the others and acts. True when it should look again at once. */
  async look(): Promise<boolean> {
    const { membership, observer } = this.#options;
    try {
      await membership.announce(this.#record());
      const { living, gone } = this.#living.look(await membership.members(), performance.now());
      for (const member of gone) await this.#bury(member);
      const hasClaimed = this.#act(living);
      const others = living.filter(({ id }) => id !== this.#id);
      const loading = [...this.#running.keys()].toSorted((a, b) => a - b);
      observer?.onLook?.({ id: this.#id, loading, others });
      this.#unseenSinceMs = null;
      return hasClaimed;
    } catch (error) {
      if (!(error instanceof PipelineError) || error.policy.retry === 'never') throw error;
      const nowMs = performance.now();
      this.#unseenSinceMs ??= nowMs;
      const isHopeless = nowMs - this.#unseenSinceMs > this.#limits.giveUpAfterMs;
      if (isHopeless && this.#running.size === 0) throw error;
      observer?.onUnseen?.(error);
      return false;
    }
  }

  /** Lets go of everything and says so. */
  async leave(): Promise<void> {
    const { membership } = this.#options;
    for (const { stop } of this.#running.values()) stop.abort();
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
    try {
      await membership.remove(this.#id);
    } catch {
      // Then the others find out by our silence.
    }
    await membership.close();
  }

  #act(living: readonly MemberRecord[]): boolean {
    // Not seen by itself: what it would decide of is not there yet.
    if (!living.some(({ id }) => id === this.#id)) return false;
    const { drop, claim } = decideShares(this.#id, living, this.#options.shareCount);
    for (const share of drop) this.#drop(share);
    for (const [share, epoch] of this.#claims) {
      // The claim was there for all to see before this look, and no other stands against it.
      if (epoch === 0 && !this.#running.has(share)) this.#start(share);
    }
    const nowMs = performance.now();
    const free = claim.filter((share) => {
      return !this.#claims.has(share) && (this.#fencedUntilMs.get(share) ?? 0) <= nowMs;
    });
    for (const share of free) this.#claims.set(share, 0);
    return free.length > 0;
  }

  #drop(share: number): void {
    const running = this.#running.get(share);
    if (running === undefined) this.#claims.delete(share);
    else running.stop.abort();
  }

  #start(share: number): void {
    const stop = new AbortController();
    const load: LoadShare = {
      signal: stop.signal,
      onOpened: (epoch) => void this.#claims.set(share, epoch),
    };
    const ended = this.#load(share, load).finally(() => {
      this.#running.delete(share);
      this.#claims.delete(share);
    });
    this.#running.set(share, { stop, ended });
  }

  async #load(share: number, load: LoadShare): Promise<void> {
    try {
      await this.#options.loadShare(share, load);
    } catch (error) {
      if (error instanceof PipelineError && error.kind === 'sink-fenced') {
        this.#fencedUntilMs.set(share, performance.now() + this.#limits.silenceMsMax);
        this.#options.observer?.onFenced?.(share, error);
      } else {
        this.#failure.abort(error);
      }
    }
  }

  async #bury(member: MemberRecord): Promise<void> {
    if (member.id === this.#id) return;
    this.#options.observer?.onGone?.(member);
    await this.#options.evict?.(member);
    await this.#options.membership.remove(member.id);
  }

  #record(): MemberRecord {
    this.#beat += 1;
    const { place = { host: hostname(), pid: process.pid }, wantsAll = false } = this.#options;
    return {
      id: this.#id,
      sink: this.#options.sink,
      host: place.host,
      pid: place.pid,
      beat: this.#beat,
      atMs: Date.now(),
      claims: [...this.#claims].map(([share, epoch]) => ({ share, epoch })),
      ...(wantsAll ? { wantsAll } : {}),
    };
  }
}
