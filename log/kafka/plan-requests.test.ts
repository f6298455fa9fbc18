import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LogRecord, PartitionBatch } from '../log.ts';
import { batchOverheadBytes, planRequests, recordBytes } from './plan-requests.ts';

const record = fc.record<LogRecord>({
  key: fc.option(fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes))),
  value: fc.option(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))),
  headers: fc.constant([]),
  timestampMs: fc.constantFrom(0, 1_000, 2 ** 31, 1_700_000_000_000),
});
const batch = fc.record<PartitionBatch>({
  topic: fc.constantFrom('a', 'b'),
  partition: fc.nat(1),
  records: fc.array(record, { maxLength: 12 }),
});
const limits = { batchBytesMax: 600, requestBytesMax: 1_000 };

function byPartition(batches: readonly PartitionBatch[]): Record<string, LogRecord[]> {
  const found: Record<string, LogRecord[]> = {};
  for (const { topic, partition, records } of batches) {
    if (records.length > 0) (found[`${topic}/${partition}`] ??= []).push(...records);
  }
  return found;
}

const sizeOf = ({ records }: PartitionBatch): number =>
  records.reduce((sum, one) => sum + recordBytes(one), batchOverheadBytes);

test('requests hold every record once, each partition in its order, within the limits', () => {
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 8 }), (batches) => {
      const wanted = byPartition(structuredClone(batches));
      const requests = planRequests(batches, limits);
      expect(Object.keys(byPartition(requests.flat()))).toHaveLength(Object.keys(wanted).length);
      for (const [place, records] of Object.entries(byPartition(requests.flat()))) {
        expect(records.map(({ timestampMs }) => timestampMs)).toEqual(
          wanted[place]?.map(({ timestampMs }) => timestampMs),
        );
        expect(records.map(recordBytes)).toEqual(wanted[place]?.map(recordBytes));
      }
      for (const request of requests) {
        const places = request.map(({ topic, partition }) => `${topic}/${partition}`);
        expect(new Set(places).size).toBe(places.length);
        expect(request.reduce((sum, one) => sum + sizeOf(one), 0)).toBeLessThanOrEqual(
          limits.requestBytesMax,
        );
        for (const { records } of request) {
          const times = records.map(({ timestampMs }) => timestampMs);
          expect(Math.max(...times) - Math.min(...times)).toBeLessThan(2 ** 31);
        }
      }
    }),
  );
});

test('what fits goes in one request', () => {
  const one = { key: null, value: Buffer.from('x'), headers: [], timestampMs: 1 };
  const batches = [
    { topic: 'a', partition: 0, records: [one] },
    { topic: 'a', partition: 1, records: [one] },
    { topic: 'a', partition: 0, records: [one, one] },
  ];
  const requests = planRequests(batches, limits);
  expect(requests.map((request) => request.map(({ records }) => records.length))).toEqual([[3, 1]]);
});
