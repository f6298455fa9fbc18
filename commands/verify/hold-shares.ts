import { once } from 'node:events';
import type { Config, SinkConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { RowImage } from '../../schemas/change.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { SinkPause } from '../../sinks/run-sink.ts';
import { shareOf } from '../../sinks/shares.ts';
import type { Sink } from '../../sinks/sink.ts';
import type { Membership } from '../../sinks/workers/membership.ts';
import { runWorker } from '../../sinks/workers/run-worker.ts';
import { loadSink } from '../load-sink.ts';
import { notThere } from './not-there.ts';
import type { HoldLake } from './verify-lake.ts';

/** How long all shares may take to be taken over, and then to get to the position. */
const catchUpMs = 120_000;

export interface HoldSharesOptions {
  readonly config: Config;
  readonly settings: SinkConfig;
  /** Name of the sink in the configuration. */
  readonly sink: string;
  readonly shareCount: number;
  readonly openMembership: () => Membership;
  readonly newSink: (share: number) => Sink;
  readonly rows: (table: TableSchema) => AsyncIterable<RowImage>;
  readonly signal: AbortSignal;
}

/**
 * Holds a lake of which nobody has the whole: as a worker that wants every share for itself. The running
 * workers hand theirs over and stand by; here all shares stand still while the position is decided, are
 * loaded exactly up to it, and stand still again. Afterwards, or when this process dies, the others go on.
 */
export function holdShares(options: HoldSharesOptions): HoldLake {
  return async (decide, use) => {
    const stand = new Stand(options.shareCount);
    const enough = new AbortController();
    const stop = AbortSignal.any([options.signal, enough.signal]);
    const work = runWorker(
      {
        sink: options.sink,
        shareCount: options.shareCount,
        membership: options.openMembership(),
        wantsAll: true,
        loadShare: (share, { signal, onOpened }) =>
          loadSink({
            config: options.config,
            settings: options.settings,
            sink: options.newSink(share),
            pause: stand.pauseOf(share, signal),
            wants: (table) => shareOf(table, options.shareCount) === share,
            observer: {
              onOpened: ({ epoch }) => onOpened(epoch),
              onRetry: () => undefined,
            },
            signal,
          }),
      },
      { signal: stop },
    );
    const ended = work.then(() => options.signal.throwIfAborted());
    ended.catch(() => undefined);
    try {
      const before = await stand.all(ended, positionZero);
      const until = await decide();
      stand.go(until);
      const applied = await stand.all(ended, until);
      return await use({ rows: options.rows }, applied > before ? applied : before);
    } finally {
      enough.abort();
      await work.catch(() => undefined);
    }
  };
}

/** Lets every share get to one place and wait there: first wherever it is, then the position. */
export class Stand {
  readonly #shareCount: number;
  #until: PositionText | null = null;
  #next = Promise.withResolvers<void>();
  #arrived = Promise.withResolvers<void>();
  readonly #applied = new Map<number, PositionText>();

  constructor(shareCount: number) {
    this.#shareCount = shareCount;
  }

  /** Stands until it is to go on, or until the share is let go: let on before that, it would come back at once, for ever. */
  pauseOf(share: number, signal: AbortSignal): SinkPause {
    return {
      requested: () => ({ until: this.#until }),
      run: async (applied) => {
        this.#applied.set(share, applied);
        if (this.#applied.size === this.#shareCount) this.#arrived.resolve();
        if (!signal.aborted) await Promise.race([this.#next.promise, once(signal, 'abort')]);
      },
    };
  }

  /** Resolves with the furthest position when all shares stand. Throws when the work ends, or lasts too long. */
  async all(ended: Promise<void>, until: PositionText): Promise<PositionText> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const applied = [...this.#applied.values()].toSorted()[0] ?? positionZero;
      const isTaken = this.#applied.size === this.#shareCount;
      if (isTaken || until !== positionZero)
        reject(notThere({ until, applied, waitedMs: catchUpMs }));
      else reject(notTaken(this.#applied.size, this.#shareCount));
    }, catchUpMs);
    try {
      await Promise.race([this.#arrived.promise, ended, late]);
      return [...this.#applied.values()].toSorted().at(-1) ?? positionZero;
    } finally {
      clearTimeout(timer);
    }
  }

  /** On to the position. */
  go(until: PositionText): void {
    this.#until = until;
    this.#applied.clear();
    this.#arrived = Promise.withResolvers();
    const go = this.#next;
    this.#next = Promise.withResolvers();
    go.resolve();
  }
}

const notTaken = (taken: number, of: number) =>
  new PipelineError(
    'sink-failed',
    `${taken} of ${of} shares were given up to verify within ${catchUpMs / 1000} s`,
    { hint: 'a worker gives a share up after its batch: see `tributary status`, and try again' },
  );
