import { setTimeout as pause } from 'node:timers/promises';
import { type RunningConnect, startConnect } from '../peers/debezium/connect.ts';
import { debeziumSettings, isStreamingSql } from '../peers/debezium/debezium.ts';
import type { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import type { TestPostgres } from '../support/postgres.ts';
import { eventTableSql } from './backlog.ts';

export interface BenchServers {
  readonly postgres: TestPostgres;
  readonly kafka: Awaited<ReturnType<typeof startTestKafka>>;
  readonly registry: Awaited<ReturnType<typeof startTestRegistry>>;
}

const speeds = {
  default: { jvm: ['-Xmx2g'], connector: {} },
  tuned: {
    jvm: ['-Xms2g', '-Xmx4g', '-XX:+UseParallelGC'],
    connector: {
      'max.batch.size': 20_480,
      'max.queue.size': 81_920,
      'poll.interval.ms': 10,
      'producer.override.compression.type': 'lz4',
      'producer.override.linger.ms': 5,
      'producer.override.batch.size': 262_144,
    },
  },
} as const;

const converters = ['avro', 'json'] as const;

/** `speed-converter`, e.g. tuned-json: each way to run Debezium. */
export const debeziumVariants = Object.keys(speeds).flatMap((speed) =>
  converters.map((converter) => `${speed}-${converter}`),
);

const pollMs = 20;
/** A JVM, Connect and a connector have started by then, on a busy machine too. */
const startMsMax = 180_000;

/** Debezium in one of its variants on a database of its own with the events' table, once it streams. */
export async function startDebezium(
  { postgres, kafka, registry }: BenchServers,
  variant: string,
  name: string,
): Promise<RunningConnect & { readonly url: string }> {
  const [speed, converter] = variant.split('-') as ['default' | 'tuned', 'avro' | 'json'];
  const url = await postgres.createDatabase(name);
  await postgres.run(name, `${eventTableSql}; create publication bench for table service_event`);
  const { jvm, connector } = speeds[speed];
  const own = debeziumSettings({ url, prefix: name, slot: name, publication: 'bench' });
  const connect = await startConnect({
    brokers: kafka.brokers,
    registryUrl: registry.url,
    converter,
    jvm,
    connector: { ...own, 'provide.transaction.metadata': false, ...connector },
  });
  try {
    await untilStreaming(postgres, name, connect);
  } catch (error) {
    await connect[Symbol.asyncDispose]();
    throw error;
  }
  return { ...connect, url };
}

/** A slot is active before Debezium knows the tables: what is committed until then would be left out. */
async function untilStreaming(
  postgres: TestPostgres,
  slot: string,
  { state }: RunningConnect,
): Promise<void> {
  const deadline = performance.now() + startMsMax;
  while (performance.now() < deadline) {
    const { rows } = await postgres.run('postgres', isStreamingSql(slot));
    if (rows.length > 0) return;
    await pause(pollMs);
  }
  throw new Error(`Debezium does not stream: ${await state()}`);
}
