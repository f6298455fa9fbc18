/** Of an answer to Fetch version 11 up to its topic: throttle time, error, session, count of topics. */
const answerHeadBytes = 4 + 2 + 4 + 4;
/** Count of partitions, then partition, error, high watermark, last stable and first offset. */
const partitionHeadBytes = 4 + 4 + 2 + 8 + 8 + 8;
const abortedBytes = 16;
const preferredReplicaBytes = 4;
/** First offset and length of a record batch; the length does not count these. */
const batchStartBytes = 8 + 4;
/** Where in a batch the distance to its last offset stands. */
const lastDeltaAt = 23;

/**
 * The offset behind the last whole batch of an answer to Fetch version 11 for one partition; `offset`,
 * which was asked for, when there is none. Compaction keeps batches without records, which say how far
 * they reach; kafkajs gives only the records.
 */
export function fetchedEnd(answer: Buffer, offset: number): number {
  if (answer.length < answerHeadBytes || answer.readInt32BE(answerHeadBytes - 4) === 0)
    return offset;
  let at = answerHeadBytes + 2 + answer.readInt16BE(answerHeadBytes) + partitionHeadBytes;
  at += 4 + Math.max(0, answer.readInt32BE(at)) * abortedBytes + preferredReplicaBytes;
  // Length of the records: -1 or 0 for none.
  at += 4;
  let end = offset;
  while (at + lastDeltaAt + 4 <= answer.length) {
    const next = at + batchStartBytes + answer.readInt32BE(at + 8);
    if (next > answer.length) break;
    end = Number(answer.readBigInt64BE(at)) + answer.readInt32BE(at + lastDeltaAt) + 1;
    at = next;
  }
  return Math.max(offset, end);
}
