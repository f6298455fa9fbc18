import type { DatabaseSync } from 'node:sqlite';
import type { Retention } from './writer-protocol.ts';

/** Batches looked at in one transaction, so that appends of other processes do not wait long. */
const batchesMax = 2_000;

interface OldBatch {
  readonly id: number;
  readonly partitionId: number;
  readonly byteCount: number;
  readonly timestampMs: number;
  readonly nextOffset: number;
}

/**
 * Drops whole batches from the start of partitions: those older than `ageMs` before `nowMs`, and the
 * oldest ones while all together are larger than `bytes`. Never those of compacted topics, and never a
 * partition's last batch: resuming reads its last record. Runs inside a transaction of the caller.
 * Gives true when it stopped at its limit and there may be more to drop.
 */
export function dropExpired(database: DatabaseSync, retention: Retention, nowMs: number): boolean {
  const { ageMs, bytes } = retention;
  let surplusBytes = bytes === undefined ? 0 : retainedBytes(database) - bytes;
  const cutoffMs = ageMs === undefined ? Number.NEGATIVE_INFINITY : nowMs - ageMs;
  // A batch that stays keeps the later ones of its partition, whatever their timestamps say.
  const kept = new Set<number>();
  const dropped: OldBatch[] = [];
  for (const batch of oldestBatches(database)) {
    const isExpired = surplusBytes > 0 || batch.timestampMs < cutoffMs;
    if (!isExpired || kept.has(batch.partitionId)) {
      kept.add(batch.partitionId);
      continue;
    }
    dropped.push(batch);
    surplusBytes -= batch.byteCount;
  }
  drop(database, dropped);
  return dropped.length === batchesMax;
}

function retainedBytes(database: DatabaseSync): number {
  const sum = database.prepare(/* sql */ `
    select coalesce(sum(p.retained_bytes), 0) as bytes
    from partitions p join topics t on t.id = p.topic_id
    where t.compacted = 0`);
  return Number(sum.get()?.['bytes']);
}

function oldestBatches(database: DatabaseSync): OldBatch[] {
  // `cross join` keeps SQLite from starting at the topics and sorting every batch.
  const select = database.prepare(/* sql */ `
    select b.id, b.partition_id, b.byte_count, b.timestamp_ms,
      b.base_offset + b.record_count as next_offset
    from batches b
    cross join partitions p on p.id = b.partition_id
    cross join topics t on t.id = p.topic_id
    where t.compacted = 0 and b.base_offset + b.record_count < p.end_offset
    order by b.id
    limit ${batchesMax}`);
  return select.all().map((row) => ({
    id: Number(row['id']),
    partitionId: Number(row['partition_id']),
    byteCount: Number(row['byte_count']),
    timestampMs: Number(row['timestamp_ms']),
    nextOffset: Number(row['next_offset']),
  }));
}

function drop(database: DatabaseSync, batches: readonly OldBatch[]): void {
  const remove = database.prepare(/* sql */ `delete from batches where id = ?`);
  const moveStart = database.prepare(/* sql */ `
    update partitions set start_offset = ?, retained_bytes = retained_bytes - ? where id = ?`);
  for (const { id, partitionId, byteCount, nextOffset } of batches) {
    remove.run(id);
    moveStart.run(nextOffset, byteCount, partitionId);
  }
}
