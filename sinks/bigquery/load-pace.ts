import {
  defaultSpacing,
  type Spacing,
  spacingAfter,
  type SpacingOptions,
  type SpacingState,
  startSpacing,
  useSpacing,
} from './spacing.ts';

/** What a connection has used since it was made. */
export interface Usage {
  /** Load jobs, failed ones included. */
  readonly loads: number;
  readonly bytesProcessed: number;
  readonly bytesBilled: number;
}

/** What one published batch has used, and how long the next one waits. */
export interface PaceReport extends Usage {
  readonly spacing: Spacing;
}

export const noUsage: Usage = { loads: 0, bytesProcessed: 0, bytesBilled: 0 };

const difference = (after: Usage, before: Usage): Usage => ({
  loads: after.loads - before.loads,
  bytesProcessed: after.bytesProcessed - before.bytesProcessed,
  bytesBilled: after.bytesBilled - before.bytesBilled,
});

export interface LoadPaceOptions {
  readonly spacing: Partial<SpacingOptions>;
  readonly usage: () => Usage;
  /** Milliseconds that never run backwards. */
  readonly now?: () => number;
}

/** Watches what batches use and says how long the next one waits. */
export class LoadPace {
  readonly #spacing: SpacingOptions;
  readonly #usage: () => Usage;
  readonly #now: () => number;
  #state: SpacingState;
  #published = noUsage;
  #noted = noUsage;
  spacing: Spacing;

  constructor({ spacing, usage, now = performance.now.bind(performance) }: LoadPaceOptions) {
    this.#spacing = { ...defaultSpacing, shares: 1, ...spacing };
    this.#usage = usage;
    this.#now = now;
    this.#state = startSpacing(this.#spacing, this.#now());
    this.spacing = { ms: 0, limit: 'least' };
  }

  /** An owner begins: what others have loaded in the last day is used up. */
  start(loadsToday: number): void {
    this.#state = startSpacing(this.#spacing, this.#now(), loadsToday);
  }

  /** What was used since the last entry of the ledger: a publication's bytes are in the entry after it. */
  takeForLedger(): PaceReport {
    const usage = this.#usage();
    const since = difference(usage, this.#noted);
    this.#noted = usage;
    return { ...since, spacing: this.spacing };
  }

  /** A batch was published. */
  noteBatch(): PaceReport {
    const usage = this.#usage();
    const used = difference(usage, this.#published);
    this.#published = usage;
    const use = { loads: used.loads, scanBytes: used.bytesBilled };
    this.#state = useSpacing(this.#spacing, this.#state, { ...use, atMs: this.#now() });
    this.spacing = spacingAfter(this.#spacing, this.#state, use);
    return { ...used, spacing: this.spacing };
  }
}
