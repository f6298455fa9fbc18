import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import type { Log, StoredRecord } from '../../log/log.ts';
import { confluentRegistrySchema, kafkaLogSchema } from '../../runtime/config/log-fields.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import { topicOf } from '../../schemas/topic.ts';
import { eventually, openBench, prefix } from '../integration/capture-harness.ts';
import { startDebezium } from '../support/debezium.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { envelopeOf, type PeerRecord } from './compare-records.ts';

const database = 'peer';
const markerTable = 'peer_marker';
const waitMs = 120_000;

/** Debezium and our capture on the same database. */
export interface Peers extends AsyncDisposable {
  readonly url: string;
  /** What both wrote of what was run since the start, by topic; our rows of the snapshot left out. */
  written(): Promise<ReadonlyMap<string, PeerPair>>;
}

export interface PeerPair {
  readonly ours: readonly PeerRecord[];
  readonly theirs: readonly PeerRecord[];
}

/** Starts everything; `setup` makes the tables, before either of the two looks at them. */
export async function startPeers(setup: (url: string) => Promise<void>): Promise<Peers> {
  await using resources = new AsyncDisposableStack();
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-peers-'));
  resources.defer(() => rm(dir, { recursive: true, force: true }));
  const postgres = resources.use(await startTestPostgres());
  const url = await postgres.createDatabase(database);
  await postgres.run(database, `create table ${markerTable} (id int primary key)`);
  await setup(url);
  await postgres.run(database, 'create publication tributary for all tables');
  const [kafka, registry] = await Promise.all([startTestKafka(), startTestRegistry()]);
  resources.use(kafka);
  resources.use(registry);
  const publication = 'tributary';
  const debezium = await startDebezium({
    dir,
    brokers: kafka.brokers,
    registryUrl: registry.url,
    url,
    prefix,
    publication,
    slot: 'debezium',
  });
  resources.defer(() => debezium.kill());
  const bench = resources.use(await openBench());
  const running = await bench.startRead({ ...bench.options({ url, publication }), partitions: 1 });
  resources.use(running);
  const config = kafkaLogSchema.parse({ type: 'kafka', brokers: [...kafka.brokers], prefix });
  const log = resources.adopt(await openKafkaLog({ config, readOnly: true }), (one) => one.close());
  const theirRegistry = resources.adopt(
    await openConfluentRegistry({
      config: confluentRegistrySchema.parse({ type: 'confluent', url: registry.url }),
    }),
    (one) => one.close(),
  );
  let markers = 0;
  const owned = resources.move();
  return {
    url,
    written: async () => {
      markers += 1;
      await postgres.run(database, `insert into ${markerTable} values (${markers})`);
      const marker = topicOf(prefix, 'public', markerTable);
      const isThere = async (from: Log) =>
        (await from.ranges([marker])).get(marker)?.[0]?.end === markers;
      await eventually('the end of what Debezium writes', () => isThere(log), waitMs);
      await Promise.race([
        eventually('the end of what we write', () => isThere(bench.log), waitMs),
        running.ended,
      ]);
      const ours = await readTopics(bench.log, bench.registry);
      const theirs = await readTopics(log, theirRegistry);
      const topics = new Set([...ours.keys(), ...theirs.keys()]);
      return new Map(
        [...topics].map((topic) => [
          topic,
          { ours: ours.get(topic) ?? [], theirs: theirs.get(topic) ?? [] },
        ]),
      );
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function readTopics(
  log: Log,
  registry: SchemaRegistry,
): Promise<ReadonlyMap<string, readonly PeerRecord[]>> {
  const found = new Map<string, PeerRecord[]>();
  for (const [topic, ranges] of await log.ranges()) {
    if (!topic.startsWith(`${prefix}.`) || topic.startsWith(`${prefix}.tributary.`)) continue;
    if (topic.endsWith(`.${markerTable}`)) continue;
    const records: PeerRecord[] = [];
    for (let offset = ranges[0]?.start ?? 0; offset < (ranges[0]?.end ?? 0);) {
      const read = await log.read(
        { topic, partition: 0, offset },
        { bytesMax: 1 << 24, waitMs: 1_000 },
      );
      for (const record of read) records.push(await withSchemas(record, registry));
      offset = (read.at(-1)?.offset ?? offset) + 1;
    }
    found.set(
      topic,
      records.filter((record) => !isSnapshotRow(record)),
    );
  }
  return found;
}

const texts = new Map<SchemaRegistry, Map<number, string>>();

async function withSchemas(record: StoredRecord, registry: SchemaRegistry): Promise<PeerRecord> {
  const known = texts.get(registry) ?? new Map<number, string>();
  texts.set(registry, known);
  const textOf = async (bytes: Buffer | null) => {
    if (bytes === null) return null;
    const id = bytes.readInt32BE(1);
    const text = known.get(id) ?? (await registry.schemaText(id));
    known.set(id, text);
    return text;
  };
  const { key, value, headers } = record;
  return { key, value, headers, keySchema: await textOf(key), valueSchema: await textOf(value) };
}

/** Ours reads every table beside the stream; theirs was told not to. */
const isSnapshotRow = (record: PeerRecord): boolean =>
  record.value !== null && record.valueSchema !== null && envelopeOf(record)['op'] === 'r';
