import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Installation } from '../support/installation.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { plainClient, withAdmin } from '../support/kafka-client.ts';
import {
  createKafkaInstallation,
  type KafkaServers,
  pidOf,
} from '../support/kafka-installation.ts';
import { pgbenchSql, runPgbench } from '../support/pgbench.ts';
import { startTestPostgres } from '../support/postgres.ts';

const accounts = 20_000;
const size = { scale: 1, accounts };
const tables = ['accounts', 'branches', 'history', 'tellers'].map(
  (name) => `public.pgbench_${name}`,
);
const patience = { timeout: 90_000, interval: 100 };

const opened = new AsyncDisposableStack();
let servers: KafkaServers;
beforeAll(async () => {
  const postgres = opened.use(await startTestPostgres());
  const kafka = opened.use(await startTestKafka());
  const registry = opened.use(await startTestRegistry());
  servers = { postgres, kafka, registry };
});
afterAll(() => opened.disposeAsync());

interface Lag {
  readonly source: { readonly slot: { readonly unconfirmedBytes: number } };
  readonly log: { readonly behindBytes: number; readonly records: number };
  readonly sinks: {
    readonly lake: { readonly behindBytes: number; readonly behindMs: number | null };
  };
}

async function status(shop: Installation): Promise<Lag> {
  const { stdout } = await shop.command(['status', '--json']);
  return JSON.parse(stdout) as Lag;
}

/** Resolves when the lake has records that were not on the log at the call. */
async function untilMoved(shop: Installation, what: string): Promise<void> {
  const before = await records(shop);
  const moved = async () => ((await records(shop)) ?? 0) > (before ?? 0) + 200;
  await vi.waitUntil(moved, { ...patience, interval: 500 }).catch((cause: unknown) => {
    throw new Error(`nothing moved after ${what}`, { cause });
  });
}

async function records(shop: Installation): Promise<number | undefined> {
  const read = await status(shop);
  return 'problem' in read.log ? undefined : read.log.records;
}

test('PostgreSQL to Kafka to the lake, exactly once, with kill -9 of capture, sink and broker in the middle', async () => {
  await using shop = await createKafkaInstallation(servers, 'kafka_shop', {
    sql: `${pgbenchSql(1, accounts)}
     alter table pgbench_history replica identity full;
     create publication tributary for all tables;`,
  });
  const enough = new AbortController();
  const load = runPgbench(shop.url, { ...size, signal: enough.signal });
  await shop.running(async (running) => {
    await running.waitFor(/every table is read/);
    await untilMoved(shop, 'the first load');
    for (const role of ['capture', 'sink lake']) {
      const pid = pidOf(shop, role);
      expect(pid, role).not.toBeNull();
      process.kill(pid!, 'SIGKILL');
      await vi.waitUntil(() => ![null, pid].includes(pidOf(shop, role)), patience);
      await untilMoved(shop, `kill -9 of ${role}`);
    }
    const broker = servers.kafka.node(0);
    await broker.kill();
    await sleep(1_000);
    await broker.start();
    await untilMoved(shop, 'kill -9 of the broker');
    enough.abort();
    expect(await load).toBeGreaterThan(0);
    const verified = await shop.verify();
    expect(verified.map(({ table }) => table).toSorted()).toEqual(tables);
    await vi.waitUntil(async () => (await status(shop)).sinks.lake.behindBytes === 0, patience);
    expect((await status(shop)).sinks.lake.behindMs).toBe(0);
    // Another client than ours finds the topics on the broker.
    const client = plainClient(servers.kafka.brokers);
    const topics = await withAdmin(client, (admin) => admin.listTopics());
    expect(topics).toContain('kafka_shop.public.pgbench_accounts');
  });
  expect(await shop.doubledChanges()).toEqual([]);
  const [places] = await shop.lakeRows(/* sql */ `
    select count(*) as n, count(distinct (_cdc_partition, _cdc_offset)) as places,
      count(distinct _cdc_partition) > 1 as is_spread
    from public.pgbench_accounts__changes`);
  expect(places?.['n']).toEqual(places?.['places']);
  expect(places?.['is_spread']).toBe(true);
});
