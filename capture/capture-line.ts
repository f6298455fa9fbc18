import type { Log } from '../log/log.ts';
import { formatLsn } from '../schemas/lsn.ts';
import { cutAfter } from '../schemas/position.ts';
import { Assembler } from './assemble.ts';
import { Batcher } from './batcher.ts';
import { ChangeWriter } from './change-writer.ts';
import { Confirmer } from './confirm.ts';
import { ControlWriter, type StreamMark } from './control-writer.ts';
import type { CaptureEvent, CaptureLimits, CaptureOptions } from './options.ts';
import { Pacer, type StreamPoint } from './pacer.ts';
import type { SqlSession } from './postgres/connection.ts';
import { ReplicationStream } from './postgres/replication-stream.ts';
import { ParkWatch } from './park-watch.ts';
import type { ProgressRecord } from './progress.ts';
import { PublicationWatch } from './publication-watch.ts';
import type { ResumePoint } from './resume.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import type { Spool } from './spool.ts';
import type { Tables } from './tables.ts';
import type { TransactionTopic } from './transaction-topic.ts';

export interface CaptureLineOptions {
  readonly options: CaptureOptions;
  readonly limits: CaptureLimits;
  readonly log: Log;
  readonly session: SqlSession;
  readonly replication: SqlSession;
  readonly spool: Spool;
  readonly resume: ResumePoint;
  readonly tables: Tables;
  readonly snapshot: Snapshot;
  readonly transactions: TransactionTopic | null;
}

/**
 * The line from PostgreSQL to the log, for one connection's life: stream → assembler → writer → batcher
 * → control records → confirmation. Whatever breaks first ends all of it.
 */
export class CaptureLine {
  readonly #options: CaptureLineOptions;
  readonly #control: ControlWriter;
  readonly #batcher: Batcher<StreamMark>;
  readonly #pacer: Pacer;
  readonly #confirmer: Confirmer;
  readonly #stream: ReplicationStream;
  readonly #watch: PublicationWatch;
  readonly #parkWatch: ParkWatch;
  readonly #broken = Promise.withResolvers<never>();
  readonly #halt = new AbortController();
  #refreshTimer: NodeJS.Timeout | null = null;
  #wasSnapshotActive: boolean;

  constructor(options: CaptureLineOptions) {
    this.#options = options;
    this.#wasSnapshotActive = options.snapshot.active;
    this.#broken.promise.catch(() => undefined);
    this.#control = this.#makeControl();
    this.#batcher = new Batcher<StreamMark>({
      log: options.log,
      inFlightBytesMax: options.limits.inFlightBytesMax,
      onDurable: (mark, batch) => {
        if (batch.records > 0) this.#observe({ type: 'appended', ...batch });
        this.#control.durable(mark, batch.ends);
      },
    });
    this.#pacer = this.#makePacer();
    this.#confirmer = this.#makeConfirmer();
    this.#stream = this.#makeStream();
    this.#watch = this.#makeWatch();
    this.#parkWatch = this.#makeParkWatch();
  }

  /** Rejects with the first thing that breaks; never resolves. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** A parked table has another schema. */
  lookAtParked(): void {
    this.#parkWatch.look();
  }

  /** Ends the line with an error found elsewhere. */
  fail(error: unknown): void {
    this.#broken.reject(error);
  }

  start(): void {
    const { snapshot, limits } = this.#options;
    const fail = (error: unknown) => this.fail(error);
    this.#batcher.failed.catch(fail);
    snapshot.failed.catch(fail);
    this.#stream.ended.catch(fail);
    this.#stream.start();
    snapshot.start();
    this.#watch.start();
    this.#parkWatch.start();
    this.#refreshTimer = setInterval(() => this.#refresh(), limits.statusIntervalMs);
  }

  /** Takes nothing more from the stream; what it gave completely becomes durable and is confirmed. */
  async drain(): Promise<void> {
    this.#halt.abort();
    await this.#stream.halt();
    this.#pacer.finish();
    await this.#batcher.drained();
    await this.#control.drained();
  }

  /** Ends stream and snapshot. Safe in any state. */
  async close(): Promise<void> {
    this.#halt.abort();
    this.#pacer.stop();
    if (this.#refreshTimer !== null) clearInterval(this.#refreshTimer);
    await this.#stream.stop();
    await this.#watch.stop();
    await this.#parkWatch.stop();
    await this.#options.snapshot.stop();
  }

  #observe(event: CaptureEvent): void {
    this.#options.options.observe?.(event);
  }

  #refresh(): void {
    const { snapshot, spool } = this.#options;
    this.#confirmer.refresh();
    if (spool.bytes > 0) this.#observe({ type: 'spooled', bytes: spool.bytes });
    if (this.#wasSnapshotActive && !snapshot.active) {
      this.#observe({ type: 'snapshot-finished' });
      // Its last state belongs into a progress record although nothing may be captured.
      this.#pacer.record();
    }
    this.#wasSnapshotActive = snapshot.active;
  }

  #makeControl(): ControlWriter {
    const { log, options, resume } = this.#options;
    const ends = [...resume.ranges].map(
      ([topic, ranges]) => [topic, ranges.map((range) => range.end)] as const,
    );
    return new ControlWriter({
      log,
      prefix: options.prefix,
      ends: new Map(ends),
      cutMin: resume.tails.highest,
      onRecorded: (mark) => {
        if (mark.committedAtUs !== null) {
          this.#observe({ type: 'committed', committedAtUs: mark.committedAtUs });
        }
        this.#confirmer.durable(mark.lsn);
      },
      onFailed: (error) => this.fail(error),
    });
  }

  #makePacer(): Pacer {
    const { limits, resume } = this.#options;
    const { generation, committedAtUs } = resume.progress;
    return new Pacer({
      batcher: this.#batcher,
      limits,
      start: {
        cut: cutAfter(generation, resume.durableLsn - 1n),
        lsn: resume.durableLsn,
        committedAtUs: committedAtUs === null ? null : BigInt(committedAtUs),
      },
      progress: (point) => this.#progressAt(point),
    });
  }

  #progressAt(point: StreamPoint): ProgressRecord {
    const { resume, snapshot, tables } = this.#options;
    return {
      ...resume.progress,
      lsn: formatLsn(point.lsn),
      committedAtUs: point.committedAtUs === null ? null : String(point.committedAtUs),
      snapshot: snapshot.state(),
      parked: tables.parked.state(),
      rewriteMarks: tables.rewriteMarks,
    };
  }

  #makeConfirmer(): Confirmer {
    const { resume, snapshot } = this.#options;
    return new Confirmer({
      durableLsn: resume.durableLsn,
      confirmedLsn: resume.confirmedLsn,
      ceilingLsn: () => snapshot.confirmCeiling(),
      confirm: (lsn, durableLsn) => {
        this.#stream.confirm(lsn);
        this.#observe({ type: 'confirmed', lsn, durableLsn });
      },
    });
  }

  #makeWatch(): PublicationWatch {
    const { options, limits, session, resume, tables, snapshot } = this.#options;
    return new PublicationWatch({
      session,
      tables,
      snapshot,
      publication: resume.publication.name,
      publicationOid: resume.publication.oid,
      published: resume.publication.tables,
      intervalMs: limits.tablesCheckMs,
      logger: options.logger,
      onFailed: (error) => this.fail(error),
    });
  }

  #makeParkWatch(): ParkWatch {
    const { options, limits, session, tables, snapshot } = this.#options;
    return new ParkWatch({
      session,
      tables,
      snapshot,
      publication: options.source.publication,
      intervalMs: limits.parkedCheckMs,
      logger: options.logger,
      onFailed: (error) => this.fail(error),
    });
  }

  #makeStream(): ReplicationStream {
    const { options, limits, replication, resume, tables, snapshot, spool } = this.#options;
    const { transactions } = this.#options;
    const writer = new ChangeWriter({
      generation: resume.progress.generation,
      batchBytesMax: limits.batchBytesMax,
      lastCommitLsn: null,
      tails: resume.tails,
      batcher: this.#batcher,
      pacer: this.#pacer,
      tables,
      snapshot,
      transactions,
    });
    return new ReplicationStream(replication, {
      slot: options.source.slot,
      publication: options.source.publication,
      startLsn: resume.confirmedLsn,
      statusIntervalMs: limits.statusIntervalMs,
      consumer: new Assembler(writer, { spool, signal: this.#halt.signal }),
    });
  }
}
