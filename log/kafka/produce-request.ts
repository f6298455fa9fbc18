import type { EncodedBatch } from './client.ts';

const acksOfAll = -1;

/** From this version on lengths are varints, and every structure ends with tagged fields. */
const firstFlexible = 9;

export const isFlexibleProduce = (version: number): boolean => version >= firstFlexible;

/** How counts, lengths and texts are written. */
interface Form {
  /** Of a list, of bytes. */
  readonly size: (size: number) => Buffer;
  readonly text: (bytes: Buffer) => readonly Buffer[];
  readonly noText: Buffer;
  /** Of a structure: its tagged fields, of which there are none. */
  readonly end: readonly Buffer[];
}

const classic: Form = {
  size: int32,
  text: (bytes) => [int16(bytes.length), bytes],
  noText: int16(-1),
  end: [],
};

const compact: Form = {
  size: (size) => varint(size + 1),
  text: (bytes) => [varint(bytes.length + 1), bytes],
  noText: varint(0),
  end: [varint(0)],
};

/**
 * The body of a Produce request of version 3 to 12, without a transaction and for the acknowledgement of
 * all replicas in sync, as the bytes that follow one another. At most one batch a partition.
 * https://kafka.apache.org/protocol#The_Messages_Produce
 */
export function encodeProduce(
  batches: readonly EncodedBatch[],
  { version, timeoutMs }: { readonly version: number; readonly timeoutMs: number },
): readonly Buffer[] {
  const form = isFlexibleProduce(version) ? compact : classic;
  const topics = [...Map.groupBy(batches, ({ topic }) => topic)];
  return [
    form.noText,
    int16(acksOfAll),
    int32(timeoutMs),
    form.size(topics.length),
    ...topics.flatMap(([topic, list]) => [
      ...form.text(Buffer.from(topic)),
      form.size(list.length),
      ...list.flatMap((batch) => [...partitionOf(form, batch), ...form.end]),
      ...form.end,
    ]),
    ...form.end,
  ];
}

function partitionOf(form: Form, { partition, bytes }: EncodedBatch): readonly Buffer[] {
  const length = bytes.reduce((sum, part) => sum + part.length, 0);
  return [int32(partition), form.size(length), ...bytes];
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.of(...bytes, rest);
}
