import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import { kafkaConfig } from '../support/kafka-config.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { createKafkaInstallation, type KafkaServers } from '../support/kafka-installation.ts';
import { startTestPostgres } from '../support/postgres.ts';

const opened = new AsyncDisposableStack();
let servers: KafkaServers;
beforeAll(async () => {
  const postgres = opened.use(await startTestPostgres());
  // A cleaner in a hurry: segments are rolled at once, and compacted whatever it saves.
  const settings = {
    'log.cleaner.backoff.ms': 200,
    'log.roll.ms': 300,
    'log.cleaner.min.cleanable.ratio': 0.01,
    'log.cleaner.max.compaction.lag.ms': 500,
  };
  const kafka = opened.use(await startTestKafka({ settings }));
  const registry = opened.use(await startTestRegistry());
  servers = { postgres, kafka, registry };
});
afterAll(() => opened.disposeAsync());

const sql = /* sql */ `
  create table items (id int primary key, note text, size int);
  insert into items select i, 'n' || i, 0 from generate_series(1, 50) i;
  create publication tributary for all tables;`;

/** Offsets of the table's topic, and how many of them have a record. */
async function recordsAndOffsets(topic: string): Promise<{ records: number; offsets: number }> {
  await using opened = new AsyncDisposableStack();
  const config = kafkaConfig({ brokers: servers.kafka.brokers });
  const log = opened.adopt(await openKafkaLog({ config }), (one) => one.close());
  const ranges = (await log.ranges([topic])).get(topic) ?? [];
  let records = 0;
  for (const [partition, { start, end }] of ranges.entries()) {
    for (let offset = start; offset < end;) {
      const from = { topic, partition, offset };
      const some = await log.read(from, { bytesMax: 1 << 20, waitMs: 0 });
      records += some.length;
      // What follows the last record may be compacted away up to the end.
      offset = some.length === 0 ? end : some.at(-1)!.offset + 1;
    }
  }
  return { records, offsets: ranges.reduce((sum, { start, end }) => sum + end - start, 0) };
}

test('what Kafka has compacted away is missed neither by the reader nor by a lake that begins anew', async () => {
  await using shop = await createKafkaInstallation(servers, 'compacted', {
    sql,
    topics: '{ cleanup: compact }',
  });
  const topic = 'compacted.public.items';
  await shop.running(async (running) => {
    await running.waitFor(/every table is read/);
    for (let round = 1; round <= 20; round += 1) {
      await shop.sql(`update items set size = ${round}; delete from items where id = ${round};
        insert into items values (${100 + round}, 'new', 0)`);
      // Each round in segments of its own.
      await sleep(50);
    }
    await shop.verify();
    // The active segment is never compacted: it takes records to roll it.
    const isCompacted = async () => {
      await shop.sql(`update items set note = note || '.' where id > 100`);
      const { records, offsets } = await recordsAndOffsets(topic);
      return records < offsets / 4;
    };
    await vi.waitUntil(isCompacted, { timeout: 90_000, interval: 500 });
    // The running sink goes on over what is gone behind it, and gaps come before it.
    await shop.verify();
  });
  await rm(shop.lakePath);
  await shop.running(async (running) => {
    // Else verify may be the first to open the new lake, and the sink the one that waits.
    await running.waitFor(/lake goes on after/);
    await running.waitFor(/streaming from LSN/);
    expect(await shop.verify()).toMatchObject([{ table: 'public.items', sourceRows: 50 }]);
  });
  expect(await shop.doubledChanges()).toEqual([]);
  const [loaded] = await shop.lakeRows('select count(*)::integer as n from public.items__changes');
  const { offsets } = await recordsAndOffsets(topic);
  expect(Number(loaded?.['n']), 'most changes were gone before this lake began').toBeLessThan(
    offsets / 2,
  );
});
