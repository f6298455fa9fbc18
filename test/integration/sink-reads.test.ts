import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Log } from '../../log/log.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import { commandsArbitrary, runHistory } from '../conformance/sink-history.ts';
import { partitionCount } from '../support/change-log.ts';
import { appendedPositions, openSharedLog, type SharedLog } from './run-sink-harness.ts';

/* A read is a request to a broker when the log is Kafka: how many a sink makes, and at a time. */

let shared: SharedLog;
beforeAll(async () => {
  shared = await openSharedLog();
});
afterAll(() => shared[Symbol.asyncDispose]());

interface WatchedLog {
  readonly log: Log;
  /** Topic of every read so far. */
  readonly reads: string[];
  /** Reads of table topics under way at once, at most. */
  atOnceMax: number;
}

function watched(log: Log, tables: readonly string[]): WatchedLog {
  let atOnce = 0;
  const reads: string[] = [];
  const seen: WatchedLog = {
    reads,
    atOnceMax: 0,
    log: {
      createTopics: (specs) => log.createTopics(specs),
      append: (batches) => log.append(batches),
      lastRecord: (partition) => log.lastRecord(partition),
      ranges: (topics) => log.ranges(topics),
      close: () => log.close(),
      read: async (from, limits) => {
        reads.push(from.topic);
        const isTable = tables.includes(from.topic);
        if (isTable) atOnce += 1;
        seen.atOnceMax = Math.max(seen.atOnceMax, atOnce);
        // As over a network: the answer takes its time.
        if (isTable) await sleep(1);
        const records = await log.read(from, limits);
        if (isTable) atOnce -= 1;
        return records;
      },
    },
  };
  return seen;
}

it('reads few partitions at a time, and only those that moved; idle it asks for watermarks alone', async () => {
  const { changeLog, lake, load } = await shared.fresh();
  const [commands] = fc.sample(commandsArbitrary(200), { numRuns: 1, seed: 3 });
  const history = runHistory(commands ?? []);
  const tables = ['items', 'pairs', 'audit'].map((table) => changeLog.topicOf(table));
  const { cut, lsn } = history.cuts.at(-1)!;
  await changeLog.write(history.changes);
  await changeLog.watermark({ cut, lsn: formatLsn(lsn) });
  const seen = watched(changeLog.log, tables);
  const stop = new AbortController();
  const limits = { readsMax: 2, readBytesMax: 1_000, idleWaitMs: 10 };
  let isThere: () => void = () => {};
  const there = new Promise<void>((resolve) => (isThere = resolve));
  const onApplied = () => appendedPositions(lake).length === history.changes.length && isThere();
  const loading = load({ log: seen.log, limits, observer: { onApplied } }, stop.signal);
  await there;
  expect(seen.atOnceMax).toBe(2);
  const partitions = new Set(seen.reads.filter((topic) => tables.includes(topic)));
  expect(partitions.size * partitionCount).toBeGreaterThan(limits.readsMax);
  const before = seen.reads.length;
  await sleep(150);
  const idle = new Set(seen.reads.slice(before));
  expect([...idle]).toEqual([`${changeLog.prefix}.tributary.watermarks`]);
  stop.abort();
  await loading;
});
