import { describe, expect, it } from 'vitest';
import type { Watermark } from '../schemas/control.ts';
import { cutAfter } from '../schemas/position.ts';
import type { LogBatch, NextBatch } from './batch-source.ts';
import { firstCheckpoint } from './checkpoint.ts';
import { ReadAhead, type ReadAheadSource } from './read-ahead.ts';

const cut = (number: number) => cutAfter(1, BigInt(number));
const watermark = (number: number): Watermark => {
  return { cut: cut(number), lsn: '0/0', committedAtUs: null, publish: true, full: true, ends: {} };
};
const batchAt = (number: number): LogBatch => {
  return {
    cut: watermark(number),
    watermarkOffset: number,
    offsets: {},
    changes: [],
    deadLetters: [],
    lateTopics: [],
    recordCount: 0,
    bytes: 0,
  };
};
const request = (applied: number, until: number | null = null): NextBatch => {
  return {
    checkpoint: { ...firstCheckpoint(1), applied: cut(applied), watermarkOffset: applied },
    isHidden: false,
    until: until === null ? null : cut(until),
    waitMs: 0,
    signal: new AbortController().signal,
  };
};

const noTables = { versions: { of: () => [], topics: [] }, wants: () => true };

/** A source whose next batch ends two above the checkpoint, or at `until`; `asked` has the requests. */
function sourceUpTo(newest: number) {
  const asked: NextBatch[] = [];
  const released: number[] = [];
  const source: ReadAheadSource = {
    ...noTables,
    newestWatermark: watermark(newest),
    release: ({ watermarkOffset }) => void released.push(watermarkOffset),
    next: async (given) => {
      asked.push(given);
      const end = given.checkpoint.watermarkOffset + 2;
      return batchAt(given.until === null ? end : end - 1);
    },
  };
  return { source, asked, released };
}

describe('ReadAhead', () => {
  it('plans what to do with the batch from the checkpoint that it follows', async () => {
    const { source } = sourceUpTo(9);
    const planned = await new ReadAhead(source).next(request(2));
    expect(planned?.steps.map(({ checkpoint }) => checkpoint.applied)).toEqual([cut(4)]);
  });

  it('gives the batch that it read while the one before was applied, and reads it once', async () => {
    const { source, asked, released } = sourceUpTo(9);
    const batches = new ReadAhead(source);
    batches.start(batchAt(2), request(2));
    expect(asked).toHaveLength(1);
    expect(released).toEqual([2]);
    expect((await batches.next(request(2)))?.batch).toEqual(batchAt(4));
    expect(asked).toHaveLength(1);
  });

  it('reads nothing ahead of a batch that ends where the log is known to end', async () => {
    const { source, asked } = sourceUpTo(2);
    const batches = new ReadAhead(source);
    batches.start(batchAt(2), request(2));
    expect(asked).toHaveLength(0);
    expect((await batches.next(request(2)))?.batch).toEqual(batchAt(4));
  });

  it('reads again when less is wanted than was read ahead', async () => {
    const { source, asked } = sourceUpTo(9);
    const batches = new ReadAhead(source);
    batches.start(batchAt(2), request(2));
    expect((await batches.next(request(2, 3)))?.batch).toEqual(batchAt(3));
    expect(asked.map(({ until }) => until)).toEqual([null, cut(3)]);
  });

  it('keeps what was read ahead when at least as much is wanted', async () => {
    const { source, asked } = sourceUpTo(9);
    const batches = new ReadAhead(source);
    batches.start(batchAt(2), request(2));
    expect((await batches.next(request(2, 4)))?.batch).toEqual(batchAt(4));
    expect(asked).toHaveLength(1);
  });

  it('tells a failure of the reading ahead to whoever asks for the batch, and to nobody else', async () => {
    const failure = new Error('the log is torn');
    const source: ReadAheadSource = {
      ...noTables,
      newestWatermark: watermark(9),
      release: () => undefined,
      next: () => Promise.reject(failure),
    };
    const asked = new ReadAhead(source);
    asked.start(batchAt(2), request(2));
    await expect(asked.next(request(2))).rejects.toBe(failure);
    const stopped = new ReadAhead(source);
    stopped.start(batchAt(2), request(2));
    await expect(stopped.stop()).resolves.toBeUndefined();
  });
});
