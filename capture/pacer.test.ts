import { setImmediate as turn } from 'node:timers/promises';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import type { Log, LogRecord, PartitionBatch, PartitionEnd } from '../log/log.ts';
import type { Watermark } from '../schemas/control.ts';
import { controlTopics, headerSeq } from '../schemas/control.ts';
import { parseLsn } from '../schemas/lsn.ts';
import { cutAfter, formatPosition, positionZero } from '../schemas/position.ts';
import { Batcher, type PartitionBuffer } from './batcher.ts';
import { ControlWriter, type StreamMark } from './control-writer.ts';
import { Pacer } from './pacer.ts';
import type { ProgressRecord } from './progress.ts';

const topics = controlTopics('app');

/** Keeps appends in the order of the calls; each is durable only when the test says so. */
class SlowLog {
  readonly partitions = new Map<string, LogRecord[]>();
  readonly #waiting: (() => void)[] = [];

  append(batches: readonly PartitionBatch[]): Promise<readonly PartitionEnd[]> {
    const ends = batches.map(({ topic, partition, records }) => {
      const name = `${topic}/${partition}`;
      const all = this.partitions.get(name) ?? [];
      all.push(...records);
      this.partitions.set(name, all);
      return { topic, partition, end: all.length };
    });
    return new Promise((resolve) => this.#waiting.push(() => resolve(ends)));
  }

  /** Makes the oldest appends durable. */
  settle(count: number): void {
    for (const resolve of this.#waiting.splice(0, count)) resolve();
  }
}

/** `rows` changes in one transaction, each to the partition drawn; `flushed`: the batch is cut in the middle. */
const transaction = fc.record({
  rows: fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 6 }),
  flushed: fc.boolean(),
  settled: fc.integer({ min: 0, max: 4 }),
});

test('every watermark tells exactly what is below its cut, and nothing is recorded before it is durable', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(transaction, { maxLength: 25 }), async (transactions) => {
      const log = new SlowLog();
      const line = makeLine(log);
      let lsn = 100n;
      for (const { rows, flushed, settled } of transactions) {
        lsn += 10n;
        line.write(lsn, rows, flushed);
        log.settle(settled);
        await turn();
      }
      line.pacer.finish();
      let isDrained = false;
      const drained = line.drained().then(() => (isDrained = true));
      while (!isDrained) {
        log.settle(1);
        await turn();
      }
      await drained;
      expectHonest(log);
      expect(line.recorded.at(-1) ?? 0n).toBe(transactions.length === 0 ? 1n : lsn + 5n);
    }),
    { numRuns: 150 },
  );
});

function makeLine(slow: SlowLog) {
  const log = slow as unknown as Log;
  const recorded: bigint[] = [];
  const control = new ControlWriter({
    log,
    prefix: 'app',
    ends: new Map(),
    cutMin: positionZero,
    fullEvery: 3,
    onRecorded: (mark) => {
      // What is recorded is in the log: data, watermark and progress record.
      const progress = slow.partitions.get(`${topics.progress}/0`)?.at(-1);
      const durable = parseLsn((JSON.parse(String(progress?.value)) as ProgressRecord).lsn ?? '');
      expect(durable >= mark.lsn).toBe(true);
      recorded.push(mark.lsn);
    },
    onFailed: (error) => {
      throw error;
    },
  });
  const batcher = new Batcher<StreamMark>({
    log,
    inFlightBytesMax: 1 << 30,
    onDurable: (mark, batch) => control.durable(mark, batch.ends),
  });
  const pacer = new Pacer({
    batcher,
    limits: {
      batchBytesMax: 300,
      batchAgeMs: 0,
      watermarkIntervalMs: 0,
      idleIntervalMs: 0,
      watermarkBytes: 200,
    },
    start: { cut: positionZero, lsn: 1n, committedAtUs: null },
    progress: (point) =>
      ({ lsn: `0/${point.lsn.toString(16).toUpperCase()}` }) as unknown as ProgressRecord,
  });
  const buffers: PartitionBuffer[] = [0, 1, 2].map((partition) => ({
    topic: 'app.t',
    partition,
    records: [],
    isUsed: false,
  }));
  const write = (commitLsn: bigint, rows: readonly number[], flushed: boolean): void => {
    pacer.entered();
    for (const [index, partition] of rows.entries()) {
      const seq = formatPosition({ generation: 1, commitLsn, ordinal: index + 1, part: 0 });
      const headers = [[headerSeq, Buffer.from(seq)]] as const;
      const buffer = buffers[partition];
      if (buffer) batcher.add(buffer, { key: null, value: null, headers, timestampMs: 0 });
      if (flushed) pacer.flushInside({ cut: `${seq.slice(0, -1)}2`, lsn: commitLsn });
    }
    const endLsn = commitLsn + 5n;
    pacer.reached({ cut: cutAfter(1, endLsn - 1n), lsn: endLsn, committedAtUs: 1n });
  };
  const drained = async (): Promise<void> => {
    await batcher.drained();
    await control.drained();
  };
  return { pacer, recorded, write, drained };
}

function expectHonest(log: SlowLog): void {
  const ends = new Map<string, number>();
  let cut = '';
  for (const record of log.partitions.get(`${topics.watermarks}/0`) ?? []) {
    const watermark = JSON.parse(String(record.value)) as Watermark;
    expect(watermark.cut >= cut).toBe(true);
    cut = watermark.cut;
    for (const [topic, list] of Object.entries(watermark.ends)) {
      for (const [partition, end] of list.entries()) ends.set(`${topic}/${partition}`, end);
    }
    for (const [name, records] of log.partitions) {
      if (!name.startsWith('app.t/')) continue;
      const below = records.filter(({ headers }) => String(headers[0]?.[1]) <= cut).length;
      expect({ name, end: ends.get(name) ?? 0 }).toEqual({ name, end: below });
    }
  }
}
