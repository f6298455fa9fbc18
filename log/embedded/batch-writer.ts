import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { PipelineError } from '../../runtime/errors.ts';
import type { PartitionEnd, TopicPartition, TopicSpec } from '../log.ts';
import { batchChecksum } from './checksum.ts';
import { compactPartition } from './compaction.ts';
import { dropExpired } from './retention.ts';
import type { EncodedBatch, WriterOptions } from './writer-protocol.ts';

/** After this much the write-ahead file's content is moved into the log file. */
const checkpointBytes = 16 * 1024 * 1024;
/** Beyond this the writer waits for readers, so that the write-ahead file starts anew. */
const walBytesMax = 128 * 1024 * 1024;
/** A compacted partition is looked through after this many new batches. */
const compactionBatches = 256;
/** Retention is looked after at least once per this many bytes written, or this part of its limit. */
const retentionCheckBytes = 16 * 1024 * 1024;
const retentionCheckShare = 1 / 8;

interface PartitionState extends TopicPartition {
  readonly id: number;
  readonly compacted: boolean;
  /** Where this writer expects the partition to end: another end means another writer. */
  end: number;
  batchesSinceCompaction: number;
}

/**
 * The writing half of the log: whole batches in, offsets out, one transaction a group. Runs in the
 * writer thread. Remembers where each partition ends from when it was opened; when a partition has
 * moved, somebody else writes and nothing more is accepted.
 */
export class BatchWriter {
  readonly #database: DatabaseSync;
  readonly #options: WriterOptions;
  readonly #partitions = new Map<string, PartitionState>();
  readonly #statements: Statements;
  #bytesSinceCheckpoint = 0;
  #bytesSinceRetention = Number.POSITIVE_INFINITY;

  constructor(database: DatabaseSync, options: WriterOptions) {
    this.#database = database;
    this.#options = options;
    this.#statements = prepareStatements(database);
    this.#loadPartitions();
  }

  /** Writes several appends in one transaction; gives each one's ends. All or nothing. */
  append(appends: readonly (readonly EncodedBatch[])[]): (readonly PartitionEnd[])[] {
    const moved = new Map<PartitionState, number>();
    const ends = this.#inTransaction(() =>
      appends.map((batches) => this.#writeAppend(batches, moved)),
    );
    for (const [state, end] of moved) state.end = end;
    return ends;
  }

  /** Creates what is missing. Throws `log-conflict` when a topic exists with other partitions. */
  createTopics(specs: readonly TopicSpec[]): void {
    this.#inTransaction(() => {
      for (const spec of specs) this.#createTopic(spec);
    });
    this.#loadPartitions();
  }

  /** What can wait until the appends are acknowledged: compaction, retention, checkpoints. */
  tidy(): void {
    for (const state of this.#partitions.values()) {
      if (!state.compacted || state.batchesSinceCompaction < compactionBatches) continue;
      state.batchesSinceCompaction = 0;
      this.#inTransaction(() => compactPartition(this.#database, state));
    }
    const limitBytes = this.#options.retention?.bytes ?? Number.POSITIVE_INFINITY;
    const checkBytes = Math.min(retentionCheckBytes, limitBytes * retentionCheckShare);
    if (this.#bytesSinceRetention >= checkBytes) this.expire();
    if (this.#bytesSinceCheckpoint >= checkpointBytes) this.#checkpoint();
  }

  /** Drops what retention no longer keeps. */
  expire(): void {
    this.#bytesSinceRetention = 0;
    const { retention } = this.#options;
    if (retention === null) return;
    const nowMs = Date.now();
    let hasMore = true;
    while (hasMore) {
      hasMore = this.#inTransaction(() => dropExpired(this.#database, retention, nowMs));
    }
  }

  close(): void {
    this.#database.close();
  }

  #writeAppend(
    batches: readonly EncodedBatch[],
    moved: Map<PartitionState, number>,
  ): readonly PartitionEnd[] {
    const ends = new Map<PartitionState, PartitionEnd>();
    for (const batch of batches) {
      const state = this.#partitionOf(batch);
      const baseOffset = moved.get(state) ?? state.end;
      const end = baseOffset + batch.recordCount;
      this.#writeBatch(state, baseOffset, batch);
      moved.set(state, end);
      ends.set(state, { topic: batch.topic, partition: batch.partition, end });
    }
    return [...ends.values()];
  }

  #writeBatch(state: PartitionState, baseOffset: number, batch: EncodedBatch): void {
    const { recordCount, timestampMs, bytes } = batch;
    const { moveEnd, insertBatch } = this.#statements;
    const end = baseOffset + recordCount;
    const { changes } = moveEnd.run(end, bytes.length, state.id, baseOffset);
    if (changes !== 1) throw this.#conflict(batch, baseOffset);
    const place = { partitionId: state.id, baseOffset, recordCount };
    insertBatch.run(
      state.id,
      baseOffset,
      recordCount,
      timestampMs,
      bytes.length,
      batchChecksum(place, bytes),
      bytes,
    );
    state.batchesSinceCompaction += 1;
    this.#bytesSinceCheckpoint += bytes.length;
    this.#bytesSinceRetention += bytes.length;
  }

  #partitionOf({ topic, partition }: EncodedBatch): PartitionState {
    const key = partitionKey(topic, partition);
    const known = this.#partitions.get(key);
    if (known !== undefined) return known;
    // Another process may have created the topic.
    this.#loadPartitions();
    const found = this.#partitions.get(key);
    if (found !== undefined) return found;
    const message = `log ${this.#options.path} has no partition ${partition} of topic ${topic}`;
    throw new PipelineError('log-conflict', message, {
      hint: 'create the topic before its first append',
    });
  }

  #loadPartitions(): void {
    for (const row of this.#statements.selectPartitions.all()) {
      const topic = String(row['topic']);
      const partition = Number(row['partition']);
      const key = partitionKey(topic, partition);
      if (this.#partitions.has(key)) continue;
      this.#partitions.set(key, {
        topic,
        partition,
        id: Number(row['id']),
        compacted: row['compacted'] === 1,
        end: Number(row['end_offset']),
        batchesSinceCompaction: 0,
      });
    }
  }

  #createTopic({ topic, partitions, compacted }: TopicSpec): void {
    const { countPartitions, insertTopic, insertPartition } = this.#statements;
    const existing = Number(countPartitions.get(topic)?.['partitions'] ?? 0);
    if (existing === partitions) return;
    if (existing !== 0) {
      const message = `topic ${topic} has ${existing} partitions, not ${partitions}`;
      throw new PipelineError('log-conflict', message, {
        hint: `set the number of partitions back to ${existing}: keys would move otherwise`,
      });
    }
    const { lastInsertRowid } = insertTopic.run(topic, partitions, compacted ? 1 : 0);
    for (let partition = 0; partition < partitions; partition += 1) {
      insertPartition.run(lastInsertRowid, partition);
    }
  }

  #conflict({ topic, partition }: EncodedBatch, baseOffset: number): PipelineError {
    const message = `another writer moved partition ${partition} of topic ${topic} from offset ${baseOffset}`;
    return new PipelineError('log-conflict', message, {
      context: { topic, partition, baseOffset },
    });
  }

  #inTransaction<T>(use: () => T): T {
    this.#database.exec(/* sql */ `begin immediate`);
    try {
      const result = use();
      this.#database.exec(/* sql */ `commit`);
      return result;
    } catch (error) {
      // SQLite has already rolled back after some errors, such as a full disk.
      if (this.#database.isTransaction) this.#database.exec(/* sql */ `rollback`);
      throw error;
    }
  }

  #checkpoint(): void {
    this.#bytesSinceCheckpoint = 0;
    const result = this.#statements.checkpoint.get() ?? {};
    const walBytes = Number(result['log']) * this.#statements.pageBytes;
    if (walBytes > walBytesMax) this.#statements.restart.get();
  }
}

const partitionKey = (topic: string, partition: number): string => `${topic}/${partition}`;

interface Statements {
  readonly pageBytes: number;
  readonly selectPartitions: StatementSync;
  readonly countPartitions: StatementSync;
  readonly insertTopic: StatementSync;
  readonly insertPartition: StatementSync;
  readonly moveEnd: StatementSync;
  readonly insertBatch: StatementSync;
  readonly checkpoint: StatementSync;
  readonly restart: StatementSync;
}

function prepareStatements(database: DatabaseSync): Statements {
  const pageSize = database.prepare(/* sql */ `pragma page_size`).get() ?? {};
  return {
    pageBytes: Number(pageSize['page_size']),
    selectPartitions: database.prepare(/* sql */ `
      select p.id, p.partition, p.end_offset, t.topic, t.compacted
      from partitions p join topics t on t.id = p.topic_id`),
    countPartitions: database.prepare(/* sql */ `select partitions from topics where topic = ?`),
    insertTopic: database.prepare(/* sql */ `
      insert into topics (topic, partitions, compacted) values (?, ?, ?)`),
    insertPartition: database.prepare(/* sql */ `
      insert into partitions (topic_id, partition, start_offset, end_offset, retained_bytes)
      values (?, ?, 0, 0, 0)`),
    // The last condition is the guard: it fails when another writer has been here.
    moveEnd: database.prepare(/* sql */ `
      update partitions set end_offset = ?, retained_bytes = retained_bytes + ?
      where id = ? and end_offset = ?`),
    insertBatch: database.prepare(/* sql */ `
      insert into batches
        (partition_id, base_offset, record_count, timestamp_ms, byte_count, checksum, bytes)
      values (?, ?, ?, ?, ?, ?, ?)`),
    checkpoint: database.prepare(/* sql */ `pragma wal_checkpoint(passive)`),
    restart: database.prepare(/* sql */ `pragma wal_checkpoint(truncate)`),
  };
}
