/*
 * How long the next batch waits, so that BigQuery's quotas are kept and the bill stays within a budget. A
 * merge is billed for its source and its whole target, however little changes: fewer, larger batches cost
 * less. Pure: time and use come in, milliseconds come out.
 *
 * Loads per table need no limit here: each goes into a staging table of its own.
 */

const msPerHour = 3_600_000;
const msPerDay = 24 * msPerHour;
/** Load jobs of a project in a day, failed ones included. https://cloud.google.com/bigquery/quotas#load_jobs */
export const loadsPerDayMax = 100_000;
/** What a lake takes of them: others load in the same project, and a last batch may go beyond. */
const loadsUsable = 80_000;
/** That many may come at once, after a quiet time. */
const loadBurst = 20_000;
/** Part of an hour's budget that may be spent at once. */
const budgetBurst = 1 / 6;
/** Changes of one table in ten seconds: all shares write the same ledger. */
const msPerChange = 10_000 / 5;

export interface SpacingOptions {
  readonly spacingMsMin: number;
  /** Beyond it the budget is passed; a quota never is. */
  readonly spacingMsMax: number;
  /** Bytes that statements may scan in an hour; null: as many as they need. */
  readonly scanBytesPerHourMax: number | null;
  /** Shares of the lake, each of which may take its part. */
  readonly shares: number;
}

export const defaultSpacing: Omit<SpacingOptions, 'shares'> = {
  spacingMsMin: 1_000,
  spacingMsMax: 600_000,
  scanBytesPerHourMax: null,
};

/** What decides how long the next batch waits. */
export const spacingLimits = [
  'least',
  'changes of a table',
  'loads a day',
  'budget',
  'longest',
] as const;
export type SpacingLimit = (typeof spacingLimits)[number];

export interface Spacing {
  readonly ms: number;
  readonly limit: SpacingLimit;
}

/** What batches have left to use. It may be below zero: what a batch uses is known only afterwards. */
export interface SpacingState {
  readonly atMs: number;
  readonly loads: number;
  readonly scanBytes: number;
}

/** What one published batch has used, failed loads included. */
export interface BatchUse {
  readonly loads: number;
  readonly scanBytes: number;
}

interface Allowance {
  readonly capacity: number;
  readonly perMs: number;
}

const loadAllowance = ({ shares }: SpacingOptions): Allowance => ({
  capacity: loadBurst / shares,
  perMs: (loadsUsable - loadBurst) / shares / msPerDay,
});

function scanAllowance({ scanBytesPerHourMax, shares }: SpacingOptions): Allowance {
  const perHour = (scanBytesPerHourMax ?? Number.POSITIVE_INFINITY) / shares;
  return { capacity: perHour * budgetBurst, perMs: perHour / msPerHour };
}

/** A start after which so many loads were already made in the last day. */
export function startSpacing(options: SpacingOptions, atMs: number, loadsToday = 0): SpacingState {
  const { capacity } = loadAllowance(options);
  const loads = Math.min(capacity, loadsUsable / options.shares - loadsToday);
  return { atMs, loads, scanBytes: scanAllowance(options).capacity };
}

/** The state after a batch that ended at `atMs`. */
export function useSpacing(
  options: SpacingOptions,
  state: SpacingState,
  use: BatchUse & { readonly atMs: number },
): SpacingState {
  const passedMs = Math.max(0, use.atMs - state.atMs);
  const left = ({ capacity, perMs }: Allowance, before: number) =>
    Math.min(capacity, before + passedMs * perMs);
  const scan = scanAllowance(options);
  return {
    atMs: use.atMs,
    loads: left(loadAllowance(options), state.loads) - use.loads,
    scanBytes: Number.isFinite(scan.capacity)
      ? left(scan, state.scanBytes) - use.scanBytes
      : scan.capacity,
  };
}

/**
 * The wait after a batch: nothing while more than half is left, then longer and longer up to what the
 * batch used is given back in, and until nothing is owed.
 */
function waitMs({ capacity, perMs }: Allowance, left: number, used: number): number {
  if (!Number.isFinite(capacity)) return 0;
  const pressure = Math.min(1, Math.max(0, 1 - left / (capacity / 2)));
  return Math.max((used / perMs) * pressure, -left / perMs);
}

/** How long the batch after this one waits, and which limit says so. */
export function spacingAfter(options: SpacingOptions, state: SpacingState, use: BatchUse): Spacing {
  const { spacingMsMin, spacingMsMax, shares } = options;
  const quotas: readonly Spacing[] = [
    { ms: spacingMsMin, limit: 'least' },
    { ms: msPerChange * shares, limit: 'changes of a table' },
    { ms: waitMs(loadAllowance(options), state.loads, use.loads), limit: 'loads a day' },
  ];
  const wanted = waitMs(scanAllowance(options), state.scanBytes, use.scanBytes);
  const budget: Spacing =
    wanted > spacingMsMax
      ? { ms: spacingMsMax, limit: 'longest' }
      : { ms: wanted, limit: 'budget' };
  return [...quotas, budget].reduce((most, one) => (one.ms > most.ms ? one : most));
}
