import { expect, test } from 'vitest';
import { ChunkSize } from './snapshot-limits.ts';

const limits = { chunkRowsMax: 1_000, chunkBytesMax: 100_000 };

test('the next chunk aims below the limit that the last one came nearest to', () => {
  const size = new ChunkSize(limits);
  size.read({ blocks: 64, rows: 500, bytes: 80_000 });
  expect(size.blocks).toBe(64);
  size.read({ blocks: 64, rows: 4_000, bytes: 80_000 });
  expect(size.blocks).toBe(12);
});

test('it grows fourfold at most, through empty blocks too, and never falls below one block', () => {
  const size = new ChunkSize(limits);
  size.read({ blocks: 64, rows: 0, bytes: 0 });
  expect(size.blocks).toBe(256);
  size.read({ blocks: 1, rows: 10, bytes: 10_000_000 });
  expect(size.blocks).toBe(1);
  size.tooLarge(1);
  expect(size.blocks).toBe(1);
});
