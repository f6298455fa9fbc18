import type { Lsn } from '../schemas/lsn.ts';
import type { PositionText } from '../schemas/position.ts';
import type { Batcher } from './batcher.ts';
import type { StreamMark } from './control-writer.ts';
import type { ProgressRecord } from './progress.ts';

/** When batches are closed, and which of them carry a watermark. */
export interface PaceLimits {
  /** A batch of complete transactions that is this large is closed at once. */
  readonly batchBytesMax: number;
  /** No change waits longer for its batch to be closed. */
  readonly batchAgeMs: number;
  /** Least time between watermarks while there are changes. */
  readonly watermarkIntervalMs: number;
  /** Least time between watermarks while only the position moves. */
  readonly idleIntervalMs: number;
  /** Inside one transaction: bytes after which a watermark says how far it is. */
  readonly watermarkBytes: number;
}

export interface PacerOptions {
  readonly batcher: Batcher<StreamMark>;
  readonly limits: PaceLimits;
  /** The progress record as of now: everything up to `point` was given to the batcher. */
  readonly progress: (point: StreamPoint) => ProgressRecord;
  /** Where the stream begins. */
  readonly start: StreamPoint;
}

/** A place in the stream between two transactions. */
export interface StreamPoint {
  readonly cut: PositionText;
  readonly lsn: Lsn;
  /** Of the newest transaction below it, when there was one since the last point. */
  readonly committedAtUs: bigint | null;
}

/**
 * Decides when batches end: by size, by age, and so that a watermark can follow often under load,
 * seldom when idle. Runs on its own timer; the stream only tells it how far it is.
 */
export class Pacer {
  readonly #options: PacerOptions;
  #point: StreamPoint;
  /** Since the last mark with control records: bytes, and whether there were records at all. */
  #bytesSinceControl = 0;
  #hasRecordsSinceControl = false;
  #controlAtMs = Number.NEGATIVE_INFINITY;
  #markedLsn: Lsn = 0n;
  /** A transaction or chunk is partly in the batch. */
  #isInside = false;
  #timer: NodeJS.Timeout | null = null;
  #timerAtMs = 0;
  #stopped = false;

  constructor(options: PacerOptions) {
    this.#options = options;
    this.#point = options.start;
  }

  /** A transaction or chunk begins: until `reached`, a batch may not be closed as complete. */
  entered(): void {
    this.#isInside = true;
  }

  /** The stream is at this point, and everything before it is in the batcher. */
  reached(point: StreamPoint): void {
    this.#isInside = false;
    if (point.lsn >= this.#point.lsn) {
      const committedAtUs = point.committedAtUs ?? this.#point.committedAtUs;
      this.#point = { ...point, committedAtUs };
    }
    const { batcher, limits } = this.#options;
    if (batcher.bytes >= limits.batchBytesMax) this.#flush();
    else this.#schedule();
  }

  /** Closes a batch inside a transaction or chunk, whose last record is at `cut`. */
  flushInside(place: { readonly cut: PositionText; readonly lsn: Lsn }): void {
    const { batcher, limits } = this.#options;
    this.#bytesSinceControl += batcher.bytes;
    this.#hasRecordsSinceControl = true;
    const isDue = this.#bytesSinceControl >= limits.watermarkBytes;
    if (isDue) this.#bytesSinceControl = 0;
    const { committedAtUs } = this.#point;
    batcher.flush({
      ...place,
      committedAtUs,
      complete: false,
      watermark: isDue,
      progress: null,
    });
  }

  /** The server wants to hear how far we are: closes the batch now, if there is anything to tell. */
  hurry(): void {
    if (this.#options.batcher.records > 0 || this.#point.lsn > this.#markedLsn) this.record();
  }

  /** Closes the batch now, with control records, if no transaction is open. */
  record(): void {
    this.#controlAtMs = Number.NEGATIVE_INFINITY;
    if (!this.#isInside) this.#flush();
  }

  /** Closes the last batch; one that ends inside a transaction is dropped: it will be sent again. */
  finish(): void {
    this.record();
    this.stop();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #flush(): void {
    const { batcher, limits, progress } = this.#options;
    const nowMs = performance.now();
    const hasRecords = batcher.records > 0;
    this.#hasRecordsSinceControl ||= hasRecords;
    this.#bytesSinceControl += batcher.bytes;
    const isDue = nowMs - this.#controlAtMs >= this.#controlIntervalMs(limits);
    if (isDue) {
      this.#controlAtMs = nowMs;
      this.#bytesSinceControl = 0;
      this.#hasRecordsSinceControl = false;
      this.#markedLsn = this.#point.lsn;
    } else if (!hasRecords) {
      this.#schedule();
      return;
    }
    const mark = { ...this.#point, complete: true, watermark: isDue };
    batcher.flush({ ...mark, progress: isDue ? progress(this.#point) : null });
    if (!isDue) this.#schedule();
  }

  #controlIntervalMs(limits: PaceLimits): number {
    return this.#hasRecordsSinceControl ? limits.watermarkIntervalMs : limits.idleIntervalMs;
  }

  /** Sets the timer for what is due next: the batch's age, or the watermark after it. */
  #schedule(): void {
    if (this.#stopped) return;
    const { batcher, limits } = this.#options;
    const nowMs = performance.now();
    let atMs = Number.POSITIVE_INFINITY;
    if (batcher.records > 0) atMs = nowMs + limits.batchAgeMs;
    else if (this.#point.lsn > this.#markedLsn) {
      atMs = Math.max(nowMs, this.#controlAtMs + this.#controlIntervalMs(limits));
    }
    if (this.#timer !== null && this.#timerAtMs <= atMs) return;
    if (atMs === Number.POSITIVE_INFINITY) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.#onTimer(), atMs - nowMs);
  }

  #onTimer(): void {
    this.#timer = null;
    // Inside a transaction the batch is closed at its commit.
    if (this.#stopped) return;
    if (!this.#isInside) this.#flush();
  }
}
