import type { DatabaseSync } from 'node:sqlite';
import type { TopicPartition } from '../log.ts';
import { batchColumns, decodeRow } from './batch-row.ts';

/**
 * Drops the batches of a compacted partition whose every key has a newer record in a later batch.
 * What stays has the newest record of each key, and all records without a key. Offsets do not change:
 * they get holes. Runs inside a transaction of the caller.
 */
export function compactPartition(
  database: DatabaseSync,
  partition: TopicPartition & { readonly id: number },
): void {
  const newerKeys = new Set<string>();
  const superseded: { readonly id: number; readonly byteCount: number }[] = [];
  const batches = database.prepare(/* sql */ `
    select b.id, b.byte_count, ${batchColumns}
    from batches b where b.partition_id = ? order by b.base_offset desc`);
  for (const row of batches.iterate(partition.id)) {
    const keys = decodeRow(row, partition).map(({ key }) => key?.toString('latin1'));
    if (keys.every((key) => key !== undefined && newerKeys.has(key))) {
      superseded.push({ id: Number(row['id']), byteCount: Number(row['byte_count']) });
    }
    for (const key of keys) if (key !== undefined) newerKeys.add(key);
  }
  const remove = database.prepare(/* sql */ `delete from batches where id = ?`);
  const shrink = database.prepare(/* sql */ `
    update partitions set retained_bytes = retained_bytes - ? where id = ?`);
  for (const { id, byteCount } of superseded) {
    remove.run(id);
    shrink.run(byteCount, partition.id);
  }
}
