import { Buffer } from 'node:buffer';
import type { RunningRegistry } from '../../../commands/stack/registry.ts';
import type { KafkaCluster } from '../../../commands/stack/kafka.ts';
import type { CaptureBench, RunningCapture } from '../../integration/capture-harness.ts';
import { eventually, openBench } from '../../integration/capture-harness.ts';
import { plainClient, withAdmin } from '../../support/kafka-client.ts';
import type { TestPostgres } from '../../support/postgres.ts';
import { type RunningConnect, startConnect } from './connect.ts';
import { debeziumSettings, isStreamingSql } from './debezium.ts';

export interface PeerServers {
  readonly postgres: TestPostgres;
  readonly kafka: KafkaCluster;
  readonly registry: RunningRegistry;
}

/** A record of one side, its schema ids replaced by what they stand for. */
export interface PeerRecord {
  readonly key: PeerBytes | null;
  readonly value: PeerBytes | null;
  readonly headers: ReadonlyMap<string, string>;
}

export interface PeerBytes {
  readonly schemaText: string;
  /** What follows the frame. */
  readonly body: Buffer;
}

export interface PeerTopics {
  readonly ours: ReadonlyMap<string, readonly PeerRecord[]>;
  readonly theirs: ReadonlyMap<string, readonly PeerRecord[]>;
}

const marker = 'peer_marker';

/** Both captures on one database, at the same place of its log, and what each of them wrote. */
export class PeerRun implements AsyncDisposable {
  readonly prefix: string;
  readonly #servers: PeerServers;
  readonly #bench: CaptureBench;
  readonly #capture: RunningCapture;
  readonly #connect: RunningConnect;
  #markers = 0;

  private constructor(
    prefix: string,
    servers: PeerServers,
    running: { bench: CaptureBench; capture: RunningCapture; connect: RunningConnect },
  ) {
    this.prefix = prefix;
    this.#servers = servers;
    this.#bench = running.bench;
    this.#capture = running.capture;
    this.#connect = running.connect;
  }

  /** `setup` makes the tables; both begin behind it. The database has the name of the prefix. */
  static async start(
    prefix: string,
    servers: PeerServers,
    setup: (url: string) => Promise<void>,
  ): Promise<PeerRun> {
    const { postgres, kafka, registry } = servers;
    const url = await postgres.createDatabase(prefix);
    await setup(url);
    await postgres.run(prefix, `create table ${marker}(id int primary key)`);
    await postgres.run(prefix, 'create publication tributary for all tables');
    const bench = await openBench();
    const options = bench.options({ url, slot: `${prefix}_ours` });
    const capture = await bench.startRead({
      ...options,
      prefix,
      partitions: 1,
      transactionTopic: true,
    });
    const slot = `${prefix}_debezium`;
    const connect = await startConnect({
      brokers: kafka.brokers,
      registryUrl: registry.url,
      converter: 'avro',
      connector: debeziumSettings({ url, prefix, slot, publication: 'tributary' }),
    });
    const run = new PeerRun(prefix, servers, { bench, capture, connect });
    await eventually('Debezium reads its slot', async () => {
      return (await postgres.run(prefix, isStreamingSql(slot))).rowCount === 1;
    });
    // From the second transaction on both know the one before.
    await run.settle();
    return run;
  }

  /** Runs statements on a connection of their own, each in its own transaction unless they say otherwise. */
  async play(statements: readonly string[]): Promise<void> {
    for (const statement of statements) {
      await this.#servers.postgres.run(this.prefix, statement).catch((cause: unknown) => {
        throw new Error(`${statement.slice(0, 300)}: ${String(cause)}`, { cause });
      });
    }
  }

  /** Waits until both wrote everything that was committed so far. */
  async settle(): Promise<void> {
    this.#markers += 1;
    await this.play([`insert into ${marker} values (${this.#markers})`]);
    const topic = `${this.prefix}.public.${marker}`;
    const count = async (ends: () => Promise<number>) => (await ends()) >= this.#markers;
    await eventually('our marker', () => count(() => this.#ourEnd(topic)));
    await eventually('the marker of Debezium', async () => {
      const state = await this.#connect.state();
      if (state !== 'RUNNING') throw new Error(`Debezium is ${state}`);
      return count(() => this.#theirEnd(topic));
    });
  }

  /** Everything that both wrote, by topic. */
  async topics(): Promise<PeerTopics> {
    await this.settle();
    return { ours: await this.#ourTopics(), theirs: await this.#theirTopics() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connect[Symbol.asyncDispose]();
    await this.#capture[Symbol.asyncDispose]();
    await this.#bench[Symbol.asyncDispose]();
  }

  async #ourEnd(topic: string): Promise<number> {
    const ranges = (await this.#bench.log.ranges([topic])).get(topic) ?? [];
    return ranges.reduce((sum, { end }) => sum + end, 0);
  }

  async #theirEnd(topic: string): Promise<number> {
    const client = plainClient(this.#servers.kafka.brokers);
    return withAdmin(client, async (admin) => {
      const offsets = await admin.fetchTopicOffsets(topic).catch(() => []);
      return offsets.reduce((sum, { high }) => sum + Number(high), 0);
    });
  }

  async #ourTopics(): Promise<ReadonlyMap<string, readonly PeerRecord[]>> {
    const { log, registry } = this.#bench;
    const texts = new Map<number, string>();
    const textOf = async (id: number) => {
      const text = texts.get(id) ?? (await registry.schemaText(id));
      texts.set(id, text);
      return text;
    };
    const topics = new Map<string, readonly PeerRecord[]>();
    for (const [topic, [range]] of await log.ranges()) {
      if (topic.startsWith(`${this.prefix}.tributary.`)) continue;
      const records: PeerRecord[] = [];
      for (let offset = range!.start; offset < range!.end;) {
        const from = { topic, partition: 0, offset };
        const some = await log.read(from, { bytesMax: 1 << 24, waitMs: 0 });
        for (const record of some) records.push(await resolved(record, textOf));
        offset = some.at(-1)!.offset + 1;
      }
      topics.set(topic, records);
    }
    return topics;
  }

  async #theirTopics(): Promise<ReadonlyMap<string, readonly PeerRecord[]>> {
    const client = plainClient(this.#servers.kafka.brokers);
    const ends = await withAdmin(client, async (admin) => {
      const names = (await admin.listTopics()).filter((name) => name.startsWith(`${this.prefix}.`));
      const high = async (name: string) => {
        const [offset] = await admin.fetchTopicOffsets(name);
        return [name, Number(offset!.high)] as const;
      };
      return new Map(await Promise.all(names.map(high)));
    });
    const topics = new Map<string, PeerRecord[]>([...ends.keys()].map((name) => [name, []]));
    const texts = new Map<number, Promise<string>>();
    const textOf = (id: number) => {
      const text = texts.get(id) ?? this.#theirText(id);
      texts.set(id, text);
      return text;
    };
    const consumer = client.consumer({ groupId: `peer-${this.prefix}`, maxWaitTimeInMs: 100 });
    await consumer.connect();
    try {
      await consumer.subscribe({ topics: [...ends.keys()], fromBeginning: true });
      let missing = [...ends.values()].reduce((sum, end) => sum + end, 0);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      await consumer.run({
        eachMessage: async ({ topic, message }) => {
          const headers = Object.entries(message.headers ?? {}).map(
            ([name, value]) => [name, Buffer.from(value as Buffer)] as const,
          );
          const { key, value } = message;
          const record = await resolved({ key, value, headers }, textOf).catch(reject);
          if (record) topics.get(topic)!.push(record);
          missing -= 1;
          if (missing === 0) resolve();
        },
      });
      await promise;
    } finally {
      await consumer.disconnect();
    }
    return topics;
  }

  async #theirText(id: number): Promise<string> {
    const response = await fetch(`${this.#servers.registry.url}/schemas/ids/${id}`);
    const { schema } = (await response.json()) as { readonly schema: string };
    return schema;
  }
}

interface RawRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [string, Buffer])[];
}

async function resolved(
  { key, value, headers }: RawRecord,
  textOf: (id: number) => Promise<string>,
): Promise<PeerRecord> {
  const part = async (bytes: Buffer | null): Promise<PeerBytes | null> => {
    if (bytes === null) return null;
    if (bytes[0] !== 0) throw new Error('a frame begins with a zero');
    return { schemaText: await textOf(bytes.readInt32BE(1)), body: bytes.subarray(5) };
  };
  return {
    key: await part(key),
    value: await part(value),
    headers: new Map(headers.map(([name, bytes]) => [name, bytes.toString()])),
  };
}
