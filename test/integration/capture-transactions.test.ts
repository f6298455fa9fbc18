import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import { dropSlot } from '../../capture/postgres/slot.ts';
import type { Log, StoredRecord } from '../../log/log.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { type CaptureBench, openBench } from './capture-harness.ts';
import {
  checkTransactions,
  decoded,
  type Edge,
  type Envelope,
  transactionTopic,
} from './transaction-checks.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  // So small that a few hundred rows are streamed before their transaction ends.
  postgres = await startTestPostgres({ logical_decoding_work_mem: '64kB' });
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

const topic = transactionTopic;
const tables = ['public.item', 'public.part'];
const setup = `
  create table item(id bigint primary key, note text);
  create table part(id bigint primary key, item_id bigint);
  create publication tributary for all tables`;

/** A log whose every nth append writes only some of its partitions, as a broker that dies does. */
function halfFailing(log: Log, every: number, state: { appends: number; failures: number }): Log {
  // What was sent after a batch that is lost must be lost too: the log's port says so.
  let isGone = false;
  const failure = () => new PipelineError('log-unreachable', 'the log went away in the middle');
  return {
    createTopics: (specs) => log.createTopics(specs),
    read: (from, limits) => log.read(from, limits),
    lastRecord: (partition) => log.lastRecord(partition),
    ranges: (topics) => log.ranges(topics),
    close: () => log.close(),
    append: async (batches) => {
      if (isGone) throw failure();
      state.appends += 1;
      if (state.appends % every !== 0) return log.append(batches);
      isGone = true;
      state.failures += 1;
      const some = batches.filter((_, index) => (index + state.failures) % 2 === 0);
      if (some.length > 0) await log.append(some);
      throw failure();
    },
  };
}

async function withBench(name: string, play: (bench: CaptureBench, url: string) => Promise<void>) {
  const url = await postgres.createDatabase(name);
  await postgres.run(name, setup);
  await using bench = await openBench();
  try {
    await play(bench, url);
  } finally {
    const session = await openSession({ url });
    await dropSlot(session, name);
    await closeSession(session);
  }
}

const transactions = (first: number, count: number): string =>
  Array.from({ length: count }, (_, n) => first + n)
    .map(
      (id) => `begin; insert into item values (${id}, 'n'); insert into part values (${id}, ${id});
        update item set note = 'm' where id = ${id}; update part set id = -id where id = ${id};
        ${id % 3 === 0 ? `delete from item where id = ${id};` : ''} commit;`,
    )
    .join('\n');

test('without the setting there is neither topic nor block', () =>
  withBench('tx_off', async (bench, url) => {
    await using capture = await bench.startRead(bench.options({ url, slot: 'tx_off' }));
    await postgres.run('tx_off', transactions(1, 2));
    await bench.caughtUp(postgres, capture);
    expect((await bench.log.ranges([topic])).size).toBe(0);
    const events = await decoded<Envelope>(bench, 'app.public.item');
    expect(events.map(({ value }) => value?.transaction ?? null)).toEqual(events.map(() => null));
  }));

test('begins, ends and counts have no gap and no duplicate when appends fail half-way', () =>
  withBench('tx_faults', async (bench, url) => {
    const state = { appends: 0, failures: 0 };
    const plain = bench.options({ url, slot: 'tx_faults' });
    const limits = {
      batchAgeMs: 1,
      reconnectDelayMs: 5,
      giveUpAfterMs: 60_000,
      batchBytesMax: 900,
    };
    const options = {
      ...plain,
      transactionTopic: true,
      limits: { ...plain.limits, ...limits },
      openLog: async () => halfFailing(await plain.openLog(), 17, state),
    };
    await using capture = await bench.startRead(options);
    for (let round = 0; round < 8; round += 1) {
      await postgres.run('tx_faults', transactions(1 + round * 10, 10));
    }
    await bench.caughtUp(postgres, capture);
    expect(state.failures).toBeGreaterThan(3);
    expect(await checkTransactions(bench, tables)).toBe(80);
    const named = (await bench.watermarks()).flatMap(({ ends }) => Object.keys(ends));
    expect(new Set(named)).toEqual(new Set(['app.public.item', 'app.public.part']));
  }));

test('a stop and a start in the middle leave one BEGIN and one END a transaction', () =>
  withBench('tx_restart', async (bench, url) => {
    const options = { ...bench.options({ url, slot: 'tx_restart' }), transactionTopic: true };
    const first = await bench.startRead(options);
    const writing = postgres.run('tx_restart', transactions(1, 150));
    await first.stop();
    await writing;
    await using second = bench.start(options);
    await postgres.run('tx_restart', transactions(1000, 10));
    await bench.caughtUp(postgres, second);
    expect(await checkTransactions(bench, tables)).toBe(160);
  }));

test('a transaction that is streamed before it ends begins at the first change that is left of it', () =>
  withBench('tx_streamed', async (bench, url) => {
    const options = { ...bench.options({ url, slot: 'tx_streamed' }), transactionTopic: true };
    await using capture = await bench.startRead(options);
    const many = (from: number) =>
      `insert into item select n, repeat('x', 100) from generate_series(${from}, ${from + 1999}) n;`;
    await postgres.run(
      'tx_streamed',
      `begin; savepoint s; ${many(1)} rollback to s; ${many(10_001)} commit;
       begin; ${many(20_001)} rollback; ${transactions(30_000, 1)}`,
    );
    await bench.caughtUp(postgres, capture);
    expect(await checkTransactions(bench, tables)).toBe(2);
  }));

test('a message of our own in a transaction is nothing to tell of', () =>
  withBench('tx_own', async (bench, url) => {
    const options = { ...bench.options({ url, slot: 'tx_own' }), transactionTopic: true };
    await using capture = await bench.startRead(options);
    await postgres.run('tx_own', `select pg_logical_emit_message(true, 'tributary.verify', '')`);
    await postgres.run('tx_own', transactions(1, 3));
    await bench.caughtUp(postgres, capture);
    expect(await checkTransactions(bench, tables)).toBe(3);
  }));

test('what another program wrote at the end of the topic says nothing of its schemas', () =>
  withBench('tx_foreign', async (bench, url) => {
    const options = { ...bench.options({ url, slot: 'tx_foreign' }), transactionTopic: true };
    const first = await bench.startRead(options);
    await postgres.run('tx_foreign', transactions(1, 2));
    await bench.caughtUp(postgres, first);
    await first.stop();
    const own = (await decoded<Edge>(bench, topic)).map(({ record }) => record);
    const foreign = { key: Buffer.from('a key'), value: Buffer.from('a value'), headers: [] };
    const log = await options.openLog();
    await log.append([{ topic, partition: 0, records: [{ ...foreign, timestampMs: 0 }] }]);
    await log.close();
    await using second = bench.start(options);
    await postgres.run('tx_foreign', transactions(10, 1));
    await bench.caughtUp(postgres, second);
    const [range] = (await bench.log.ranges([topic])).get(topic)!;
    expect(range!.end).toBe(own.length + 3);
    const from = { topic, partition: 0, offset: own.length + 1 };
    const added = await bench.log.read(from, { bytesMax: 1 << 20, waitMs: 0 });
    const idsOf = ({ key, value }: StoredRecord) => [key!.readInt32BE(1), value!.readInt32BE(1)];
    expect(added.map(idsOf)).toEqual([idsOf(own[0]!), idsOf(own[0]!)]);
  }));

test('switched on over a log that has changes, it tells of every transaction from there on', () =>
  withBench('tx_later', async (bench, url) => {
    const plain = bench.options({ url, slot: 'tx_later' });
    const first = await bench.startRead(plain);
    await postgres.run('tx_later', transactions(1, 5));
    await bench.caughtUp(postgres, first);
    await first.stop();
    await using second = bench.start({ ...plain, transactionTopic: true });
    await postgres.run('tx_later', transactions(100, 7));
    await bench.caughtUp(postgres, second);
    expect(await checkTransactions(bench, tables)).toBe(7);
  }));
