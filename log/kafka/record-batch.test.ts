import { createRequire } from 'node:module';
import { crc32c, Reader, readRecordsBatch } from '@platformatic/kafka';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogRecord } from '../log.ts';
import { BlockPool, HeaderNames, RecordBatch, recordBytesMax } from './record-batch.ts';

const names = new HeaderNames();
const identity = { errorCode: 0, id: 2n ** 40n + 7n, epoch: 3 };

function encode(records: readonly LogRecord[], pool = new BlockPool()) {
  const batch = new RecordBatch(pool, names);
  for (const record of records) batch.add(record);
  const bytes = Buffer.concat(batch.seal(identity, 2 ** 31 - 1));
  return { batch, bytes };
}

const buffer = (maxLength: number) =>
  fc.uint8Array({ maxLength, size: 'max' }).map((bytes) => Buffer.from(bytes));

const records = fc.array(
  fc.record({
    key: fc.option(buffer(40)),
    value: fc.option(buffer(3_000)),
    headers: fc.array(fc.tuple(fc.string({ maxLength: 70 }), buffer(200)), { maxLength: 4 }),
    timestampMs: fc.oneof(
      fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
      fc.integer({ min: -(2 ** 50), max: 2 ** 50 }),
    ),
  }),
  { minLength: 1, maxLength: 40 },
);

/** What kafkajs, which knows nothing of our code, reads. */
async function readByKafkajs(bytes: Buffer) {
  const load = createRequire(import.meta.url);
  const Decoder = load('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => {
    readInt64(): { toString(): string };
  };
  const read = load('kafkajs/src/protocol/recordBatch/v0/decoder') as (
    decoder: unknown,
  ) => Promise<{ readonly records: readonly { readonly value: Buffer | null }[] }>;
  return read(new Decoder(bytes));
}

describe('a record batch', () => {
  it('is read back by both libraries as it was written', async () => {
    await fc.assert(
      fc.asyncProperty(records, async (written) => {
        const { bytes } = encode(written);
        const read = readRecordsBatch(Reader.from(bytes));
        const firstMs = Number(read.firstTimestamp);
        expect(
          read.records.map(({ key, value, headers, timestampDelta }) => ({
            key,
            value,
            headers: headers.map(([name, content]) => [String(name), content]),
            timestampMs: firstMs + Number(timestampDelta),
          })),
        ).toEqual(written);
        expect(read.records.map(({ offsetDelta }) => offsetDelta)).toEqual([...written.keys()]);
        const { records: others } = await readByKafkajs(bytes);
        expect(others.map(({ value }) => value)).toEqual(written.map(({ value }) => value));
      }),
      { numRuns: 100 },
    );
  });

  it('says in its head who wrote it, how long it is, and what its checksum is', () => {
    fc.assert(
      fc.property(records, (written) => {
        const { bytes } = encode(written);
        const { id, epoch } = identity;
        expect(readRecordsBatch(Reader.from(bytes))).toMatchObject({
          firstOffset: 0n,
          length: bytes.length - 12,
          magic: 2,
          crc: crc32c(bytes.subarray(21)),
          attributes: 0,
          lastOffsetDelta: written.length - 1,
          maxTimestamp: BigInt(Math.max(...written.map(({ timestampMs }) => timestampMs))),
          producerId: id,
          producerEpoch: epoch,
          firstSequence: 2 ** 31 - 1,
        });
        const bytesMax = written.reduce((sum, one) => sum + recordBytesMax(one, names), 61);
        expect(bytes.length).toBeLessThanOrEqual(bytesMax);
      }),
      { numRuns: 100 },
    );
  });

  it('does not change when memory of batches that were released is used again', () => {
    const pool = new BlockPool();
    const many = (text: string): LogRecord[] =>
      Array.from({ length: 500 }, (_, index) => ({
        key: Buffer.from(`${text} ${index}`),
        value: Buffer.alloc(1_000, text),
        headers: [],
        timestampMs: index,
      }));
    const first = encode(many('first'), pool);
    first.batch.release();
    const second = encode(many('second'), pool);
    const third = encode(many('third'), pool);
    expect(second.bytes).toEqual(encode(many('second')).bytes);
    expect(third.bytes).toEqual(encode(many('third')).bytes);
  });

  it('holds a record that is larger than a block', () => {
    const large = {
      key: null,
      value: Buffer.alloc(1 << 20, 'x'),
      headers: [],
      timestampMs: 1_700_000_000_000,
    };
    const small = { ...large, value: Buffer.from('y') };
    const { bytes } = encode([small, large, small]);
    const values = readRecordsBatch(Reader.from(bytes)).records.map(({ value }) => value?.length);
    expect(values).toEqual([1, 1 << 20, 1]);
  });
});
