import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openConfluentRegistry } from '../../../log/confluent/confluent-registry.ts';
import { openKafkaLog } from '../../../log/kafka/kafka-log.ts';
import type { Log } from '../../../log/log.ts';
import { confluentRegistrySchema } from '../../../runtime/config/log-fields.ts';
import { eventually, openBench } from '../../integration/capture-harness.ts';
import { kafkaConfig } from '../../support/kafka-config.ts';
import { startTestKafka, startTestRegistry } from '../../support/kafka.ts';
import { startTestPostgres, type TestPostgres } from '../../support/postgres.ts';
import { missingTool } from '../missing-tool.ts';
import { runJava, runPython } from './environments.ts';

// Others read what we wrote: Confluent's client for Python, and the transform with which Debezium's
// users take the envelope off.

const prefix = 'shop';
const topic = `${prefix}.public.order`;
const sql = /* sql */ `
  insert into "order" select n, 'note ' || n || ' ☃', n * 1.25, '2026-02-28 12:34:56.789012+00'
    from generate_series(1, 50) n;
  update "order" set note = null where id % 7 = 0;
  update "order" set id = id + 1000 where id between 10 and 12;
  delete from "order" where id % 5 = 0`;

interface Row {
  readonly id: number;
  readonly note: string | null;
  readonly amount: string | number;
  readonly made_at: string;
}
interface Consumed {
  readonly key: { readonly id: number };
  readonly value: { readonly op: string; readonly after: Row | null } | null;
}

const stack = new AsyncDisposableStack();
let postgres: TestPostgres;
let servers: { readonly brokers: readonly string[]; readonly registryUrl: string };
let log: Log;
let source: readonly Row[];

const missing = await missingTool();

describe.skipIf(missing !== null)(`consumers (needs ${missing ?? 'nothing more'})`, () => {
  beforeAll(async () => {
    postgres = stack.use(await startTestPostgres());
    const kafka = stack.use(await startTestKafka());
    const running = stack.use(await startTestRegistry());
    servers = { brokers: kafka.brokers, registryUrl: running.url };
    const config = kafkaConfig({ brokers: kafka.brokers, prefix });
    const registry = await openConfluentRegistry({
      config: confluentRegistrySchema.parse({ type: 'confluent', url: running.url }),
    });
    stack.defer(() => registry.close());
    const url = await postgres.createDatabase('shop');
    await postgres.run(
      'shop',
      `create table "order"(id bigint primary key, note text, amount numeric(12,2) not null, made_at timestamptz);
     create publication tributary for all tables`,
    );
    const bench = stack.use(await openBench());
    const capture = stack.use(
      await bench.startRead({
        ...bench.options({ url, slot: 'shop' }),
        // A broker that has just started may send us away once.
        limits: { idleIntervalMs: 100, statusIntervalMs: 50, giveUpAfterMs: 60_000 },
        prefix,
        registry,
        openLog: () => openKafkaLog({ config }),
      }),
    );
    await postgres.run('shop', sql);
    const { rows } = await postgres.run(
      'shop',
      `select id::int, note, amount::text, to_char(made_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as made_at
     from "order" order by id`,
    );
    source = rows as Row[];
    // Inserted, updated, 3 moved (3 records each), and 10 or so deleted (2 each).
    const wanted = 50 + 7 + 9 + 2 * (50 - source.length);
    const reader = (log = await openKafkaLog({ config, readOnly: true }));
    stack.defer(() => reader.close());
    await eventually('every record is in Kafka', async () => {
      const ranges = (await reader.ranges([topic])).get(topic) ?? [];
      return ranges.reduce((sum, { end }) => sum + end, 0) === wanted;
    });
    await capture.stop();
  });
  afterAll(() => stack.disposeAsync());

  const sorted = (rows: Iterable<Row>): readonly Row[] =>
    [...rows].toSorted((left, right) => left.id - right.id);

  test("Confluent's client for Python decodes every record to what the source has", async () => {
    const args = [servers.brokers.join(','), servers.registryUrl, topic];
    const records = (await runPython('consume.py', args)) as readonly Consumed[];
    const image = new Map<number, Row>();
    for (const { key, value } of records) {
      if (value === null || value.after === null) image.delete(key.id);
      else image.set(key.id, value.after);
    }
    expect(sorted(image.values())).toEqual(source);
    expect(new Set(records.map(({ value }) => value?.op))).toEqual(
      new Set(['c', 'u', 'd', undefined]),
    );
  });

  test("Debezium's unwrap transform makes rows of our records", async () => {
    const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-unwrap-'));
    stack.defer(() => rm(dir, { recursive: true, force: true }));
    const lines: string[] = [];
    for (const [partition, range] of ((await log.ranges([topic])).get(topic) ?? []).entries()) {
      for (let offset = range.start; offset < range.end;) {
        const from = { topic, partition, offset };
        const some = await log.read(from, { bytesMax: 1 << 24, waitMs: 5_000 });
        for (const { value } of some) {
          if (value !== null) lines.push(`${topic} ${value.toString('hex')}`);
        }
        offset = some.at(-1)!.offset + 1;
      }
    }
    const file = path.join(dir, 'records');
    await writeFile(file, lines.join('\n'));
    const registry = servers.registryUrl.replace('/apis/ccompat/v7', '/apis/registry/v2');
    const rows = (await runJava('Unwrap.java', [registry, file])) as readonly (Row & {
      readonly __op: string;
      readonly __deleted: string;
      readonly __source_txId: number;
    })[];
    expect(rows.length).toBe(lines.length);
    const image = new Map<number, Row>();
    for (const { id, note, amount, made_at, __deleted, __source_txId } of rows) {
      expect(__source_txId).toBeGreaterThan(0);
      if (__deleted === 'true') image.delete(id);
      else image.set(id, { id, note, amount: Number(amount).toFixed(2), made_at });
    }
    expect(sorted(image.values())).toEqual(source);
  });
});
