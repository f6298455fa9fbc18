import type { Log } from '../log/log.ts';
import type { PipelineError } from '../runtime/errors.ts';
import { pause as wait } from '../runtime/pause.ts';
import { retry } from '../runtime/retry.ts';
import type { Watermark } from '../schemas/control.ts';
import { parseLsn } from '../schemas/lsn.ts';
import type { PositionText } from '../schemas/position.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';
import { type BatchLimits, BatchSource, type LogBatch } from './batch-source.ts';
import type { SinkStep } from './batch-steps.ts';
import { type PlannedBatch, ReadAhead } from './read-ahead.ts';
import type { Checkpoint, Sink, SinkBatch } from './sink.ts';

export interface RunSinkOptions {
  readonly log: Log;
  readonly registry: SchemaRegistry;
  /** Prefix of the topics. */
  readonly prefix: string;
  /** Which tables the sink takes, by "schema.table". */
  readonly wants: (table: string) => boolean;
  /** Opened here, and again after a passing failure; closed at the end. */
  readonly sink: Sink;
  readonly limits?: Partial<SinkLimits>;
  readonly pause?: SinkPause;
  readonly observer?: SinkObserver;
  /** Milliseconds since 1970, for lags. */
  readonly clock?: () => number;
}

export interface SinkLimits extends BatchLimits {
  /** Longest wait for a watermark before a requested pause is looked for again. */
  readonly idleWaitMs: number;
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** A failure that lasts longer ends the run. */
  readonly giveUpAfterMs: number;
}

const defaultSinkLimits: SinkLimits = {
  batchRowsMax: 50_000,
  batchBytesMax: 16 << 20,
  readBytesMax: 256 << 10,
  readsMax: 16,
  idleWaitMs: 250,
  firstRetryMs: 200,
  longestRetryMs: 10_000,
  giveUpAfterMs: Number.POSITIVE_INFINITY,
};

/** Lets another process have the lake between two batches. */
export interface SinkPause {
  /** Asked between batches. `until`: apply exactly up to there first, and nothing above. */
  requested(): { readonly until: PositionText | null } | null;
  /** Runs while the lake is lent; the sink goes on when it resolves. */
  run(applied: PositionText): Promise<void>;
}

export interface BatchReport {
  readonly batch: SinkBatch;
  /** Records read for it, tombstones and duplicates included; of the last step of a batch only. */
  readonly recordCount: number;
  readonly bytes: number;
  readonly durationMs: number;
  /** From the commit of the newest change to now; null when there was none. */
  readonly lagMs: number | null;
  /** Between the batch's cut and the newest watermark of the log that was read. */
  readonly behindBytes: number;
}

export interface SinkObserver {
  onOpened?(checkpoint: Checkpoint): void;
  onApplied?(report: BatchReport): void;
  onRetry?(error: PipelineError, delayMs: number): void;
}

/**
 * Loads the log into a sink, batch by batch, until the signal: then the batch under way is finished and
 * the sink closed. A passing failure closes the sink, opens it again, which raises the epoch, and goes on
 * from the checkpoint that it gives; any other ends the run.
 */
export async function runSink(
  options: RunSinkOptions,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const limits = { ...defaultSinkLimits, ...options.limits };
  await retry(() => loadUntilAborted(options, limits, signal), {
    firstDelayMs: limits.firstRetryMs,
    longestDelayMs: limits.longestRetryMs,
    giveUpAfterMs: limits.giveUpAfterMs,
    signal,
    onRetry: ({ error, delayMs }) => options.observer?.onRetry?.(error, delayMs),
  });
}

async function loadUntilAborted(
  options: RunSinkOptions,
  limits: SinkLimits,
  signal: AbortSignal,
): Promise<void> {
  const { sink, pause, observer } = options;
  let batches: ReadAhead | null = null;
  try {
    let checkpoint = await sink.open();
    observer?.onOpened?.(checkpoint);
    const source = new BatchSource({ ...options, limits, from: checkpoint });
    batches = new ReadAhead(source);
    const loader = new BatchLoader(options);
    let hasJustLent = false;
    let pausedUntilMs = 0;
    while (!signal.aborted) {
      const asked = pause?.requested() ?? null;
      const isThere = asked !== null && (asked.until ?? '') <= checkpoint.applied;
      // Those who ask over and over for whatever is there must not keep the log waiting for ever.
      const isLogsTurn = isThere && hasJustLent && asked.until === null;
      hasJustLent = false;
      // What is applied and not published yet is the sink's open work: it would be lost.
      if (pause && isThere && !isLogsTurn && !loader.isHidden) {
        await lend(sink, pause, checkpoint);
        hasJustLent = true;
        continue;
      }
      const pausedMs = pausedUntilMs - performance.now();
      // Who asks for a position waits for it to be applied.
      if (pausedMs > 0 && (asked?.until ?? null) === null) {
        await wait(Math.min(pausedMs, limits.idleWaitMs), signal);
        continue;
      }
      const next = await batches.next({
        checkpoint,
        isHidden: loader.isHidden,
        until: isThere ? null : (asked?.until ?? null),
        waitMs: isLogsTurn ? 0 : limits.idleWaitMs,
        signal,
      });
      if (next === null) continue;
      const { batch, steps } = next;
      checkpoint = steps.at(-1)?.checkpoint ?? checkpoint;
      const isHidden = isHiddenAfter(steps) ?? loader.isHidden;
      // A sink that waits between batches gets a larger one from the log when it is done waiting; what was
      // read ahead may be read again, and a sink that refuses changes is to be asked of each once.
      if (sink.pauseMs === undefined && sink.refuse === undefined) {
        batches.start(batch, { checkpoint, isHidden, until: null, waitMs: 0, signal });
      }
      await loader.load(next, source);
      source.release(checkpoint);
      pausedUntilMs = performance.now() + (sink.pauseMs?.() ?? 0);
    }
  } finally {
    await batches?.stop();
    await sink.close();
  }
}

/** Whether readers will not see the last of the steps; undefined when no step has anything to see. */
function isHiddenAfter(steps: readonly SinkStep[]): boolean | undefined {
  const last = steps.findLast(({ batch }) => batch !== null)?.batch;
  return last ? !last.cut.publish : undefined;
}

function lend(sink: Sink, pause: SinkPause, { applied }: Checkpoint): Promise<void> {
  return sink.lend(() => pause.run(applied));
}

/** Applies batches, each in the steps that its schema changes ask for. */
class BatchLoader {
  readonly #options: RunSinkOptions;
  /** Versions that the lake can hold. */
  readonly #evolved = new Set<object>();
  /** The last cut was not published: readers do not see it yet. */
  isHidden = false;

  constructor(options: RunSinkOptions) {
    this.#options = options;
  }

  async load({ batch, steps }: PlannedBatch, source: BatchSource): Promise<void> {
    const { sink } = this.#options;
    for (const step of steps) {
      for (const version of step.versions) {
        if (!this.#evolved.has(version)) await sink.evolve(version);
        this.#evolved.add(version);
      }
      if (step.batch !== null) await this.#apply(step.batch, batch, source.newestWatermark);
    }
  }

  async #apply(
    applied: SinkBatch,
    { recordCount, bytes }: LogBatch,
    newest: Watermark | null,
  ): Promise<void> {
    const { sink, observer, clock = Date.now } = this.#options;
    const startedMs = performance.now();
    await sink.apply(applied);
    this.isHidden = !applied.cut.publish;
    const committedAtUs = applied.cut.committedAtUs;
    observer?.onApplied?.({
      batch: applied,
      recordCount,
      bytes,
      durationMs: performance.now() - startedMs,
      lagMs: committedAtUs === null ? null : clock() - Number(committedAtUs) / 1000,
      behindBytes: newest === null ? 0 : lsnDistance(applied.cut.lsn, newest.lsn),
    });
  }
}

function lsnDistance(from: string, to: string): number {
  return Math.max(0, Number(parseLsn(to) - parseLsn(from)));
}
