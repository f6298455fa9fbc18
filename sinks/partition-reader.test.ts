import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { StoredRecord } from '../log/log.ts';
import { headerSeq } from '../schemas/control.ts';
import { formatPosition, positionZero } from '../schemas/position.ts';
import { PartitionReader } from './partition-reader.ts';

const seqOf = (ordinal: number) =>
  formatPosition({ generation: 1, commitLsn: 9n, ordinal, part: 0 });
const record = (offset: number): StoredRecord => {
  const seq = Buffer.from(seqOf(offset));
  return { offset, key: null, value: Buffer.alloc(8), headers: [[headerSeq, seq]], timestampMs: 0 };
};

/** A partition with these offsets, read so many records at a time; `decoded` has the offsets that were. */
function readerOf(offsets: readonly number[], perRead: number) {
  const decoded: number[] = [];
  const reads: number[] = [];
  const end = (offsets.at(-1) ?? -1) + 1;
  const reader = new PartitionReader({
    topic: 'orders',
    partition: 0,
    offset: 0,
    log: {
      read: ({ offset: from }) => {
        reads.push(from);
        const found = offsets.filter((offset) => offset >= from).slice(0, perRead);
        return Promise.resolve(found.map(record));
      },
      ranges: () => Promise.resolve(new Map([['orders', [{ start: 0, end }]]])),
    },
    decoder: {
      decode: (records, floor) => {
        const above = records.filter(({ seq }) => floor === undefined || (seq ?? '') > floor);
        decoded.push(...above.map((one) => one.record.offset));
        return Promise.resolve(records.map(() => null));
      },
    },
  });
  const readTo = async (to: number, floor = positionZero) => {
    const { signal } = new AbortController();
    while (!reader.hasAllBelow(to)) {
      await reader.readTowards({ end: to, floor, bytesMax: 1, signal });
    }
  };
  return { reader, reads, decoded, readTo };
}

it('each record is read once and decoded once, when an end vouches for it, whatever the ends and reads', async () => {
  const log = fc
    .uniqueArray(fc.nat(40), { minLength: 1 })
    .map((all) => all.toSorted((a, b) => a - b));
  await fc.assert(
    fc.asyncProperty(
      log,
      fc.integer({ min: 1, max: 7 }),
      fc.array(fc.nat(41)),
      async (...given) => {
        const [offsets, perRead, ends] = given;
        const { reader, reads, decoded, readTo } = readerOf(offsets, perRead);
        const last = (offsets.at(-1) ?? 0) + 1;
        for (const end of [...ends.map((one) => Math.min(one, last)), last].toSorted(
          (a, b) => a - b,
        )) {
          await readTo(end);
          expect(decoded).toEqual(offsets.filter((offset) => offset < end));
          expect(reader.below(end).map(({ offset }) => offset)).toEqual(decoded);
        }
        expect(new Set(reads).size).toBe(reads.length);
        reader.release(last);
        expect(reader.bytes).toBe(0);
      },
    ),
  );
});

it('what was applied before is passed to the decoder as such', async () => {
  const { decoded, readTo } = readerOf([0, 1, 2, 3], 10);
  await readTo(4, seqOf(1));
  expect(decoded).toEqual([2, 3]);
});
