import { PipelineError } from '../../runtime/errors.ts';
import type { StoredRecord, TopicPartition } from '../log.ts';
import { decodeBatch } from './batch-codec.ts';
import { batchChecksum } from './checksum.ts';

/** Columns that `decodeRow` needs, for select lists. */
export const batchColumns = 'b.partition_id, b.base_offset, b.record_count, b.checksum, b.bytes';

/**
 * The records of a row of table batches. Throws `log-corrupt` naming topic, partition and offset when
 * the bytes are not those that were written.
 */
export function decodeRow(
  row: Readonly<Record<string, unknown>>,
  { topic, partition }: TopicPartition,
): StoredRecord[] {
  const baseOffset = Number(row['base_offset']);
  const recordCount = Number(row['record_count']);
  const bytes = row['bytes'];
  const place = { partitionId: Number(row['partition_id']), baseOffset, recordCount };
  if (!(bytes instanceof Uint8Array) || batchChecksum(place, bytes) !== row['checksum']) {
    throw new PipelineError(
      'log-corrupt',
      `the ${recordCount} records from offset ${baseOffset} of partition ${partition} of topic ${topic} do not match their checksum`,
      { context: { topic, partition, offset: baseOffset } },
    );
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return decodeBatch(buffer, baseOffset, recordCount);
}
