import { assert } from '../runtime/assert.ts';

const seed = 0x9747b28c;
const multiplier = 0x5bd1e995;
const shift = 24;

/**
 * Murmur2 in 32 bits as Kafka's Java clients compute it; gives a signed integer.
 * https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/utils/Utils.java
 */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  const tail = length & ~3;
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  let hash = seed ^ length;
  for (let at = 0; at < tail; at += 4) {
    let word = Math.imul(view.getInt32(at, true), multiplier);
    word ^= word >>> shift;
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier);
  }
  if (tail < length) {
    for (let at = length - 1; at >= tail; at -= 1) hash ^= view.getUint8(at) << ((at - tail) * 8);
    hash = Math.imul(hash, multiplier);
  }
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
}

/**
 * Partition of a record among `partitions` (1 or more), where Kafka's default partitioner would put
 * its key. Records without a key share partition 0: a table without a key keeps one order.
 */
export function partitionOf(key: Uint8Array | null, partitions: number): number {
  assert(Number.isInteger(partitions) && partitions > 0, 'a topic has at least one partition');
  return key === null ? 0 : (murmur2(key) & 0x7fff_ffff) % partitions;
}

/** What decides the partition of a record: `debezium` its whole key, `stable` the values in it. */
export type Partitioning = 'debezium' | 'stable';

/** Magic byte and schema id in front of an Avro key. */
const keyFrameBytes = 5;

/**
 * Partition of a record by the values of its key alone. The frame in front of them holds the id of the
 * key's schema: when that changes (a new comment, another registry), Kafka's own rule moves every key
 * to another partition, where its new records may overtake its old ones; this one does not.
 */
export function stablePartitionOf(key: Uint8Array | null, partitions: number): number {
  return partitionOf(key?.subarray(keyFrameBytes) ?? null, partitions);
}
