import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import { confluentRegistrySchema, kafkaLogSchema } from '../../runtime/config/log-fields.ts';
import { runProcess } from '../../runtime/run-process.ts';
import { eventually, openBench, prefix } from '../integration/capture-harness.ts';
import { confluentPython } from '../support/confluent-python.ts';
import { startUnwrap } from '../support/debezium.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { startTestPostgres } from '../support/postgres.ts';

/* Consumers that know nothing of us read what capture writes to a real Kafka. */

const database = 'shop';
const topic = `${prefix}.public.orders`;
const resources = new AsyncDisposableStack();
let brokers: readonly string[];
let registryUrl: string;
let dir: string;

const statements = [
  `insert into orders values (1, 'first ☃', 10.50, '2026-02-28 12:34:56.789+01', '{a,NULL}', '{"n": 1}')`,
  `insert into orders values (2, null, null, null, null, null)`,
  `update orders set amount = -0.01 where id = 2`,
  `update orders set id = 3 where id = 2`,
  `delete from orders where id = 1`,
];
/** Inserts, an update, a key change (delete, tombstone, insert) and a delete with its tombstone. */
const recordCount = 8;

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-consumers-'));
  resources.defer(() => rm(dir, { recursive: true, force: true }));
  const [postgres, kafka, registry] = await Promise.all([
    startTestPostgres(),
    startTestKafka(),
    startTestRegistry(),
  ]);
  for (const server of [postgres, kafka, registry]) resources.use(server);
  [brokers, registryUrl] = [kafka.brokers, registry.url];
  const url = await postgres.createDatabase(database);
  await postgres.run(
    database,
    `create table orders (id int primary key, note text, amount numeric(10,2), at timestamptz, tags text[], extra jsonb);
     create publication tributary for table orders`,
  );
  const config = kafkaLogSchema.parse({ type: 'kafka', brokers: [...brokers], prefix });
  const registryConfig = confluentRegistrySchema.parse({ type: 'confluent', url: registryUrl });
  const ids = await openConfluentRegistry({ config: registryConfig });
  resources.defer(() => ids.close());
  const bench = resources.use(await openBench());
  const running = await bench.startRead({
    ...bench.options({ url }),
    openLog: () => openKafkaLog({ config }),
    registry: ids,
    partitions: 1,
  });
  resources.use(running);
  for (const statement of statements) await postgres.run(database, statement);
  const reader = await openKafkaLog({ config, readOnly: true });
  resources.defer(() => reader.close());
  const isThere = async () => (await reader.ranges([topic])).get(topic)?.[0]?.end === recordCount;
  await Promise.race([eventually('the records', isThere), running.ended]);
});
afterAll(() => resources.disposeAsync());

interface Decoded {
  readonly key: { readonly id: number };
  readonly value: {
    readonly op: string;
    readonly before: Readonly<Record<string, unknown>> | null;
    readonly after: Readonly<Record<string, unknown>> | null;
  } | null;
}

test("Confluent's own client decodes every record to what the source holds", async () => {
  const python = await confluentPython();
  const script = fileURLToPath(new URL('read_avro.py', import.meta.url));
  const words = [script, brokers.join(','), registryUrl, topic, String(recordCount)];
  const { exitCode, output } = await runProcess(python, words);
  expect(exitCode, output).toBe(0);
  const records = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Decoded);
  expect(records.map(({ key, value }) => [key.id, value?.op ?? 'tombstone'])).toEqual([
    [1, 'c'],
    [2, 'c'],
    [2, 'u'],
    [2, 'd'],
    [2, 'tombstone'],
    [3, 'c'],
    [1, 'd'],
    [1, 'tombstone'],
  ]);
  expect(records[0]?.value?.after).toEqual({
    id: 1,
    note: 'first ☃',
    amount: '10.50',
    at: '2026-02-28T11:34:56.789000Z',
    tags: ['a', null],
    extra: '{"n": 1}',
  });
  expect(records[5]?.value?.after).toEqual({
    id: 3,
    note: null,
    amount: '-0.01',
    at: null,
    tags: null,
    extra: null,
  });
});

test("Debezium's unwrap transform makes rows of our envelopes", async () => {
  const file = path.join(dir, 'rows.txt');
  const connect = await startUnwrap({ dir, brokers, registryUrl, topics: [topic], file });
  resources.defer(() => connect.kill());
  // Deletes and tombstones are dropped by default: two inserts, an update, and the new key.
  const rows = await eventually('the rows', async () => {
    const lines = (await readFile(file, 'utf8').catch(() => '')).trim().split('\n');
    return lines.length >= 4 ? lines : undefined;
  });
  expect(rows).toEqual([
    'Struct{id=1,note=first ☃,amount=10.50,at=2026-02-28T11:34:56.789000Z,tags=[a, null],extra={"n": 1}}',
    'Struct{id=2}',
    'Struct{id=2,amount=-0.01}',
    'Struct{id=3,amount=-0.01}',
  ]);
});
