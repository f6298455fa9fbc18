import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import { backoffDelayMs } from '../../runtime/retry.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import type { ChunkPlan } from './chunk-plan.ts';
import { lockTimeoutSql, measureSql, tableParameter, writersSql } from './chunk-sql.ts';
import { classifyFailure, type ReadFailure } from './classify-failure.ts';
import { emitFence } from './emit-fence.ts';
import { readChunk, type ChunkReading } from './read-chunk.ts';
import type { SnapshotCore } from './snapshot-core.ts';
import { ChunkSize, type SnapshotLimits } from './snapshot-limits.ts';
import type { SnapshotSession } from './snapshot-session.ts';
import type { TableProgress } from './table-progress.ts';

/** Where the snapshot of one table is; told after each step. */
export interface SnapshotProgress {
  readonly table: string;
  /** 'waiting': for `transactions` that wrote to the table before its reading could begin, or for its lock. */
  readonly phase: 'waiting' | 'reading' | 'repairing' | 'done';
  readonly rowsRead: number;
  /** Rows of the whole table as far as the blocks read so far tell; null before the first. */
  readonly rowsEstimate: number | null;
  readonly transactions?: number;
}

export interface ChunkReaderOptions {
  readonly core: SnapshotCore;
  readonly open: () => Promise<SnapshotSession>;
  readonly signal: AbortSignal;
  readonly limits: SnapshotLimits;
  readonly publications: readonly string[];
  readonly describe: (table: TableSchema) => Promise<TableSchema | null>;
  readonly onProgress: (progress: SnapshotProgress) => void;
}

/** Reads one chunk after another beside the stream, until every table is done; then waits for more. */
export class ChunkReader {
  readonly #options: ChunkReaderOptions;
  /** Fences of another process or an earlier life have another one. */
  readonly #captureId = randomUUID();
  #session: SnapshotSession | null = null;
  #chunkNumber = 0;
  #wake = Promise.withResolvers<void>();
  #size: ChunkSize;
  #sizedFor: TableProgress | null = null;
  #last: TableProgress | null = null;
  #failures = 0;
  #failingSinceMs = 0;
  #describeAttempts = 0;

  constructor(options: ChunkReaderOptions) {
    this.#options = options;
    this.#size = new ChunkSize(options.limits);
  }

  /** The fence came back, tables were asked for, or the snapshot stops. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Ends with the signal. Throws the error that no retry mends. */
  async run(): Promise<void> {
    const { core, signal } = this.#options;
    const closeNow = () => void this.#session?.close();
    signal.addEventListener('abort', closeNow);
    try {
      while (!signal.aborted) {
        const progress = core.next();
        this.#reportDone(progress);
        if (progress === null) await this.#rest();
        else await this.#tryStep(progress);
        if (core.problem !== null) throw core.problem;
      }
    } finally {
      signal.removeEventListener('abort', closeNow);
      core.abandon();
      await this.#closeSession();
    }
  }

  /** The table before this one is complete: at its last fence, or because the stream brought what was missing. */
  #reportDone(next: TableProgress | null): void {
    const last = this.#last;
    if (last !== null && last.done) this.#report(last, 'done');
    this.#last = next;
  }

  async #rest(): Promise<void> {
    await this.#closeSession();
    await this.#woken();
  }

  async #woken(): Promise<void> {
    if (!this.#options.signal.aborted) await this.#wake.promise;
    this.#wake = Promise.withResolvers<void>();
  }

  async #tryStep(progress: TableProgress): Promise<void> {
    try {
      await this.#step(progress);
      this.#failures = 0;
    } catch (error) {
      this.#options.core.abandon();
      await this.#closeSession();
      if (this.#options.signal.aborted) return;
      await this.#recover(progress, classifyFailure(error, tableName(progress.table)));
    }
  }

  async #step(progress: TableProgress): Promise<void> {
    const { core } = this.#options;
    const session = (this.#session ??= await this.#open());
    if (progress.outdated) await this.#describe(progress);
    if (progress.done) return;
    if (progress.mustReopen) {
      core.begin(progress, { kind: 'reopen', table: progress.table });
      await this.#fence(session, []);
      return;
    }
    if (progress.hasKey && progress.storage === null) await this.#measure(session, progress);
    else if (!progress.hasKey) await this.#waitForWriters(session, progress);
    if (this.#sizedFor !== progress) this.#size = new ChunkSize(this.#options.limits);
    this.#sizedFor = progress;
    const plan = core.plan(progress, this.#size.blocks);
    core.begin(progress, plan);
    const reading = await readChunk(session, plan, {
      publications: this.#options.publications,
      limits: this.#options.limits,
      accept: (snapshot, storage) => core.seal(snapshot, storage),
    });
    await this.#take(session, { progress, plan, reading });
  }

  async #open(): Promise<SnapshotSession> {
    const session = await this.#options.open();
    await session.run(lockTimeoutSql(this.#options.limits.lockTimeoutMs));
    return session;
  }

  async #take(
    session: SnapshotSession,
    chunk: {
      readonly progress: TableProgress;
      readonly plan: ChunkPlan;
      readonly reading: ChunkReading;
    },
  ): Promise<void> {
    const { core } = this.#options;
    const { progress, plan, reading } = chunk;
    const blocks = plan.kind === 'range' ? plan.to - plan.from : 0;
    switch (reading.kind) {
      case 'refused':
        await this.#pause(this.#options.limits.rereadPauseMs);
        return;
      case 'changed':
        core.abandon();
        await this.#describe(progress);
        return;
      case 'too-large':
        core.abandon();
        this.#size.tooLarge(blocks);
        await this.#closeSession();
        return;
      case 'read': {
        const { rows, bytes } = reading;
        if (plan.kind === 'range') this.#size.read({ blocks, rows: rows.length, bytes });
        const emitted = core.emissionCount;
        await this.#fence(session, rows);
        if (core.emissionCount > emitted) this.#describeAttempts = 0;
        if (!progress.done) this.#report(progress, phaseOf(plan));
      }
    }
  }

  /** Rule 3: the chunk is held before its fence is written, for that may come back before the answer. */
  async #fence(session: SnapshotSession, rows: readonly TupleBytes[]): Promise<void> {
    const { core } = this.#options;
    this.#chunkNumber += 1;
    const id = `${this.#captureId}:${this.#chunkNumber}`;
    this.#wake = Promise.withResolvers<void>();
    if (!core.hold(rows, id)) return;
    await emitFence(session, id);
    while (core.isBusy && core.problem === null && !this.#options.signal.aborted)
      await this.#woken();
  }

  /** After every transaction that had written to the table has ended, what it wrote is in its blocks. */
  async #measure(session: SnapshotSession, progress: TableProgress): Promise<void> {
    await this.#waitForWriters(session, progress);
    const [row] = await session.query(measureSql, [tableParameter(progress.table)]);
    const storage = { storage: row?.[0] ?? '', blocks: Number(row?.[1]) };
    this.#options.core.measured(progress, storage);
    this.#report(progress, 'reading');
  }

  /**
   * Rule 6: transactions that ran when the slot was made, or when the table was published, may have
   * written what is never streamed: reading begins when they have ended. A transaction that has not
   * written to the table yet does not matter: what it writes from now on is streamed.
   */
  async #waitForWriters(session: SnapshotSession, progress: TableProgress): Promise<void> {
    const { limits, signal } = this.#options;
    const running = async () => {
      const rows = await session.query(writersSql, [tableParameter(progress.table)]);
      return new Set(rows.map((row) => row[0]));
    };
    const first = await running();
    let left = first;
    for (let wait = 0; left.size > 0 && !signal.aborted; wait += 1) {
      this.#report(progress, 'waiting', left.size);
      await this.#pause(Math.min(limits.retryPauseMaxMs, limits.rereadPauseMs * 2 ** wait));
      const still = await running();
      left = new Set([...first].filter((xid) => still.has(xid)));
    }
  }

  async #describe(progress: TableProgress): Promise<void> {
    const name = tableName(progress.table);
    this.#describeAttempts += 1;
    if (this.#describeAttempts > this.#options.limits.describeAttemptsMax) {
      throw new PipelineError(
        'source-unfit',
        `the columns of ${name} changed ${this.#describeAttempts - 1} times in a row while it was read, or the catalog and the publication disagree about them`,
        { hint: `compare pg_publication_tables with the columns of ${name}, then start again` },
      );
    }
    if (this.#describeAttempts > 1) await this.#pause(this.#options.limits.retryPauseMs);
    const table = await this.#options.describe(progress.table);
    this.#options.core.described(progress, table);
  }

  async #recover(progress: TableProgress, failure: ReadFailure): Promise<void> {
    switch (failure.kind) {
      case 'final':
        throw failure.error;
      case 'gone':
        await this.#describe(progress);
        return;
      case 'locked':
        this.#report(progress, 'waiting');
        return;
      case 'slow':
        this.#size.tooLarge(this.#size.blocks);
        return;
      case 'passing':
        await this.#backOff(failure.error);
    }
  }

  /** Throws the error when it lasts longer than `giveUpAfterMs`. */
  async #backOff(error: PipelineError): Promise<void> {
    const { limits } = this.#options;
    if (this.#failures === 0) this.#failingSinceMs = performance.now();
    if (performance.now() - this.#failingSinceMs > limits.giveUpAfterMs) throw error;
    const times = { firstDelayMs: limits.retryPauseMs, longestDelayMs: limits.retryPauseMaxMs };
    const delayMs = backoffDelayMs(this.#failures, times);
    this.#failures += 1;
    await this.#pause(delayMs);
  }

  async #pause(delayMs: number): Promise<void> {
    const { signal } = this.#options;
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
  }

  async #closeSession(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.close();
  }

  #report(progress: TableProgress, phase: SnapshotProgress['phase'], transactions?: number): void {
    const { rowsRead, nextBlock, blocks } = progress;
    const isKnown = nextBlock > 0 && blocks > 0;
    this.#options.onProgress({
      table: tableName(progress.table),
      phase,
      rowsRead,
      rowsEstimate: isKnown ? Math.round((rowsRead * blocks) / Math.min(nextBlock, blocks)) : null,
      ...(transactions === undefined ? {} : { transactions }),
    });
  }
}

function phaseOf(plan: ChunkPlan): 'reading' | 'repairing' {
  return plan.kind === 'keys' ? 'repairing' : 'reading';
}
