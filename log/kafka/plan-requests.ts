import type { LogRecord, PartitionBatch } from '../log.ts';

export interface RequestLimits {
  /** Bytes of one partition's record batch. */
  readonly batchBytesMax: number;
  /** Bytes of one request, all partitions together. */
  readonly requestBytesMax: number;
}

/** Length fields of a record and of a header at their longest. https://kafka.apache.org/documentation/#record */
const recordOverheadBytes = 40;
const headerOverheadBytes = 10;
/** A batch has its times as differences, which @platformatic/kafka gets wrong beyond 31 bits. */
const timeSpanMsMax = 2 ** 31 - 1;
/** Head of a record batch. */
export const batchOverheadBytes = 61;

/** What a record takes in a batch, at the most. */
export function recordBytes({ key, value, headers }: LogRecord): number {
  let bytes = recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) {
    // A character of a name takes three bytes at the most.
    bytes += headerOverheadBytes + name.length * 3 + content.length;
  }
  return bytes;
}

/**
 * Appends in order → requests in order, each with one batch a partition and within the limits; the
 * records of a partition keep their order. A record above a limit gets a batch of its own.
 */
export function planRequests(
  batches: readonly PartitionBatch[],
  limits: RequestLimits,
): readonly (readonly PartitionBatch[])[] {
  const requests: Piece[][] = [];
  for (const piece of batches.flatMap((batch) => pieces(batch, limits))) {
    addPiece(requests, piece, limits);
  }
  return requests.map((request) =>
    request.map(({ topic, partition, records }) => ({ topic, partition, records })),
  );
}

interface Piece extends PartitionBatch {
  readonly bytes: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** A batch cut where it would grow beyond what one request takes of a partition. */
function pieces(batch: PartitionBatch, limits: RequestLimits): Piece[] {
  const bytesMax = Math.min(limits.batchBytesMax, limits.requestBytesMax);
  const { topic, partition } = batch;
  const cut: Piece[] = [];
  for (const record of batch.records) {
    const { timestampMs } = record;
    const single: Piece = {
      topic,
      partition,
      records: [record],
      bytes: batchOverheadBytes + recordBytes(record),
      firstMs: timestampMs,
      lastMs: timestampMs,
    };
    const last = cut.at(-1);
    const joined = last === undefined ? undefined : join(last, single, bytesMax);
    if (joined === undefined) cut.push(single);
    else cut[cut.length - 1] = joined;
  }
  return cut;
}

/** Both as one batch; undefined when that is beyond a limit. The records of `one` are added to in place. */
function join(one: Piece, other: Piece, bytesMax: number): Piece | undefined {
  const bytes = one.bytes + other.bytes - batchOverheadBytes;
  const firstMs = Math.min(one.firstMs, other.firstMs);
  const lastMs = Math.max(one.lastMs, other.lastMs);
  if (bytes > bytesMax || lastMs - firstMs > timeSpanMsMax) return undefined;
  const records = one.records as LogRecord[];
  for (const record of other.records) records.push(record);
  return { ...one, bytes, firstMs, lastMs };
}

/** Into the last request if it has room for it and nothing of its partition yet is behind it. */
function addPiece(requests: Piece[][], piece: Piece, limits: RequestLimits): void {
  const last = requests.at(-1);
  const used = last?.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
  if (last === undefined || used + piece.bytes > limits.requestBytesMax) {
    requests.push([piece]);
    return;
  }
  const at = last.findIndex(
    ({ topic, partition }) => topic === piece.topic && partition === piece.partition,
  );
  const own = last[at];
  const joined = own === undefined ? undefined : join(own, piece, limits.batchBytesMax);
  if (own === undefined) last.push(piece);
  else if (joined === undefined) requests.push([piece]);
  else last[at] = joined;
}
