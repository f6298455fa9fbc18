import { describe, expect, it } from 'vitest';
import { murmur2, partitionOf, stablePartitionOf } from './murmur2.ts';

describe('murmur2', () => {
  // The vectors of Kafka's own UtilsTest, plus one key of every tail length.
  it.each([
    ['21', -973_932_308],
    ['foobar', -790_332_482],
    ['a-little-bit-long-string', -985_981_536],
    ['a-little-bit-longer-string', -1_486_304_829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58_897_971],
    ['abc', 479_470_107],
  ])('hashes %s as the Java client does', (key, hash) => {
    expect(murmur2(Buffer.from(key))).toBe(hash);
  });

  it('reads a key where it lies in a larger buffer', () => {
    const inside = Buffer.from('xxabcyy').subarray(2, 5);
    expect(murmur2(inside)).toBe(479_470_107);
  });
});

describe('partitionOf', () => {
  it('drops the sign of the hash before dividing', () => {
    expect(partitionOf(Buffer.from('21'), 10)).toBe((-973_932_308 & 0x7fff_ffff) % 10);
  });

  it('keeps records without a key in one order', () => {
    expect(partitionOf(null, 12)).toBe(0);
  });

  it('refuses a topic without partitions', () => {
    expect(() => partitionOf(null, 0)).toThrow(/at least one partition/);
  });
});

describe('stable partitioning', () => {
  const framed = (id: number, body: string): Buffer => {
    const key = Buffer.alloc(5);
    key.writeInt32BE(id, 1);
    return Buffer.concat([key, Buffer.from(body)]);
  };
  const bodies = Array.from({ length: 200 }, (_, index) => `key ${index}`);

  it('keeps a key in its partition when the id of its schema changes, which the other does not', () => {
    const partitionsBy = (of: typeof partitionOf, id: number) =>
      bodies.map((body) => of(framed(id, body), 12));
    expect(partitionsBy(stablePartitionOf, 7)).toEqual(partitionsBy(stablePartitionOf, 1_000));
    expect(partitionsBy(partitionOf, 7)).not.toEqual(partitionsBy(partitionOf, 1_000));
  });

  it('uses all partitions, and the first for records without a key', () => {
    const used = new Set(bodies.map((body) => stablePartitionOf(framed(1, body), 12)));
    expect(used.size).toBe(12);
    expect(stablePartitionOf(null, 12)).toBe(0);
  });
});
