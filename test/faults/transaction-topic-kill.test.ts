import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseLsn } from '../../schemas/lsn.ts';
import { type CaptureBench, eventually, openBench } from '../integration/capture-harness.ts';
import { checkTransactions, decoded, transactionTopic } from '../integration/transaction-checks.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { type CaptureProcess, startCaptureProcess, untilRead } from './capture-process.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  // So small that a few hundred rows are streamed before their transaction ends.
  postgres = await startTestPostgres({ logical_decoding_work_mem: '64kB' });
});
afterAll(() => postgres[Symbol.asyncDispose]());

const tables = ['public.item', 'public.part'];
const setup = `
  create table item(id bigint primary key, note text);
  create table part(id bigint primary key, item_id bigint);
  create publication tributary for all tables`;

/** Batches and watermarks so small that a transaction has many of both. */
const limits = { batchBytesMax: 4_000, batchAgeMs: 1, watermarkBytes: 20_000 };

/** Transactions of one to a few rows, and now and then one of thousands. */
const transactions = (first: number, count: number): string =>
  Array.from({ length: count }, (_, index) => (first + index) * 10_000)
    .map((id, index) => {
      const rows = index % 5 === 4 ? 2_000 : 1 + (index % 3);
      return `begin; insert into item select n, repeat('x', 100) from generate_series(${id}, ${id + rows - 1}) n;
        insert into part values (${id}, ${id}); update part set id = -id where id = ${id}; commit;`;
    })
    .join('\n');

async function untilCovered(bench: CaptureBench, running: CaptureProcess): Promise<void> {
  const { rows } = await postgres.run('postgres', 'select pg_current_wal_lsn()::text as lsn');
  await eventually(`the log reaches ${rows[0].lsn}`, async () => {
    if (running.child.exitCode !== null) throw new Error(`capture ended: ${running.output()}`);
    const newest = (await bench.watermarks()).findLast((watermark) => watermark.publish);
    return newest !== undefined && parseLsn(newest.lsn) >= parseLsn(rows[0].lsn);
  });
}

test.each([
  ['transcode', 'transcode:2500'],
  ['append', 'append:40'],
  ['watermark', 'watermark:4'],
  ['progress', 'progress:3'],
  ['confirm', 'confirm:3'],
])(
  'kill -9 after %s leaves one BEGIN, one END and the right counts of each transaction',
  async (name, failpoint) => {
    const slot = `txkill_${name}`;
    const url = await postgres.createDatabase(slot);
    await postgres.run(slot, setup);
    await using bench = await openBench();
    const source = { url, slot, limits, transactionTopic: true };
    {
      await using first = startCaptureProcess(bench, source);
      await untilRead(first);
      expect(await first.stop()).toBe(0);
    }
    for (let kills = 0; kills < 3; kills += 1) {
      await postgres.run(slot, transactions(1 + kills * 10, 10));
      await using killed = startCaptureProcess(bench, source, failpoint);
      expect(await killed.ended, killed.output()).toBe('SIGKILL');
    }
    await using last = startCaptureProcess(bench, source);
    await untilCovered(bench, last);
    expect(await checkTransactions(bench, tables)).toBe(30);
    const inside = (await bench.watermarks()).filter((watermark) => !watermark.publish);
    expect(inside.length, 'watermarks lie inside the large transactions').toBeGreaterThan(10);
    expect(await decoded(bench, transactionTopic)).toHaveLength(60);
  },
);
