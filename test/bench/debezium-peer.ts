import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { type Converter, type RunningConnect, startConnect } from '../peers/debezium/connect.ts';
import { debeziumSettings, isStreamingSql } from '../peers/debezium/debezium.ts';
import type { PeerServers } from '../peers/debezium/peer-run.ts';
import { plainClient, withAdmin } from '../support/kafka-client.ts';
import { eventTableSql } from './backlog.ts';
import { quantile, report } from './report.ts';
import type { ChildFigures } from './run-child.ts';

export interface DebeziumSetup {
  readonly tuning: 'default' | 'tuned';
  readonly converter: Converter;
}

export const debeziumSetups: readonly DebeziumSetup[] = [
  { tuning: 'default', converter: 'avro' },
  { tuning: 'tuned', converter: 'avro' },
  { tuning: 'default', converter: 'json' },
  { tuning: 'tuned', converter: 'json' },
];

/** Rows before the measurement, so that the JVM has compiled what it will need. */
const warmUpRows = 20_000;
const rowsPerTransaction = 1_000;
const pollMs = 50;
/** /proc counts processor time in hundredths of a second. */
const ticksPerSecond = 100;

const tuned = {
  connector: {
    'max.batch.size': 20_480,
    'max.queue.size': 81_920,
    'poll.interval.ms': 10,
    'producer.override.compression.type': 'lz4',
    'producer.override.linger.ms': 5,
    'producer.override.batch.size': 262_144,
  },
  jvm: ['-Xms2g', '-Xmx4g', '-XX:+UseParallelGC'],
} as const;
/** As Kafka's own start script has it. */
const defaultJvm = ['-Xms256m', '-Xmx2g', '-XX:+UseG1GC'];

interface Bench {
  readonly servers: PeerServers;
  readonly setup: DebeziumSetup;
  /** Of a database of its own, and of the topics. */
  readonly name: string;
}

/**
 * Lets Debezium drain a backlog of `rows` events into Kafka: it is frozen while the backlog is written
 * and measured from the thaw to the last record. Linux only. The caller's PostgreSQL and Kafka.
 */
export async function drainWithDebezium(
  options: Bench & { readonly rows: number },
): Promise<ChildFigures & { readonly rowsPerSecond: number }> {
  const { servers, name, rows } = options;
  await using connect = await startDebezium(options);
  const client = await connectTo(servers, name);
  await insertRows(client, 1, warmUpRows);
  await untilRows(options, warmUpRows);
  connect.signal('SIGSTOP');
  try {
    await insertRows(client, warmUpRows + 1, warmUpRows + rows);
  } finally {
    connect.signal('SIGCONT');
    await client.end();
  }
  const [startedAt, cpuBefore] = [performance.now(), await cpuSecondsOf(connect.pid)];
  await untilRows(options, warmUpRows + rows);
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    seconds,
    rowsPerSecond: rows / seconds,
    cpuSeconds: (await cpuSecondsOf(connect.pid)) - cpuBefore,
    peakMemoryMb: await peakMemoryMbOf(connect.pid),
  };
}

export interface LatencyFigures {
  readonly transactions: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** Commit to readable in Kafka, at a steady rate of changes, with Debezium between. */
export async function latencyWithDebezium(
  options: Bench & { readonly changesPerSecond: number; readonly seconds: number },
): Promise<LatencyFigures> {
  const { servers, name } = options;
  await using _connect = await startDebezium(options);
  const client = await connectTo(servers, name);
  await insertRows(client, 1, warmUpRows);
  await untilRows(options, warmUpRows);
  try {
    return await measureLatency({
      ...options,
      client,
      brokers: servers.kafka.brokers,
      topic: topicOf(name),
      firstId: warmUpRows + 1,
    });
  } finally {
    await client.end();
  }
}

export interface LatencyOptions {
  readonly client: pg.Client;
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly firstId: number;
  readonly changesPerSecond: number;
  readonly seconds: number;
}

/** Writes at a steady rate and reads along: how long after its commit was each transaction readable? */
export async function measureLatency(options: LatencyOptions): Promise<LatencyFigures> {
  const { client, topic, firstId, changesPerSecond, seconds } = options;
  const rowsEach = Math.max(1, Math.round(changesPerSecond / 100));
  const count = Math.floor((changesPerSecond * seconds) / rowsEach);
  const committedMs = new Map<number, number>();
  const readMs = new Map<number, number>();
  const consumer = plainClient(options.brokers).consumer({
    groupId: `latency-${topic}-${changesPerSecond}`,
    maxWaitTimeInMs: 5,
  });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    const lastId = firstId + count * rowsEach - 1;
    const { promise, resolve } = Promise.withResolvers<void>();
    await consumer.run({
      eachBatch: async ({ batch }) => {
        const nowMs = performance.now();
        for (const { key } of batch.messages) {
          const id = idOf(key);
          readMs.set(id, nowMs);
          if (id === lastId) resolve();
        }
      },
    });
    const startedAt = performance.now();
    for (let number = 0; number < count; number += 1) {
      const last = firstId + (number + 1) * rowsEach - 1;
      await insertRows(client, last - rowsEach + 1, last);
      committedMs.set(last, performance.now());
      const aheadMs = ((number + 1) * seconds * 1000) / count - (performance.now() - startedAt);
      if (aheadMs > 1) await pause(aheadMs);
    }
    await promise;
  } finally {
    await consumer.disconnect();
  }
  const lags = [...committedMs].map(([id, at]) => Math.max(0, (readMs.get(id) ?? 0) - at));
  return { transactions: count, medianMs: quantile(lags, 0.5), p99Ms: quantile(lags, 0.99) };
}

/** Debezium's rows of `bench:kafka`: every setup drains `rows`, the cheapest answers for latency. */
export async function benchDebezium(
  servers: PeerServers,
  options: { readonly rows: number; readonly latencySeconds: number },
): Promise<void> {
  const bench = 'kafka';
  for (const setup of debeziumSetups) {
    const { tuning, converter } = setup;
    const name = `drain_${tuning}_${converter}`;
    const figures = await drainWithDebezium({ servers, setup, name, rows: options.rows });
    const what = `Debezium, ${tuning}, ${converter}`;
    const cpu = (figures.cpuSeconds * 1e6) / options.rows;
    report({ bench, what, value: figures.rowsPerSecond, unit: 'rows/s' });
    report({ bench, what: `${what}, processor`, value: cpu, unit: 'µs/row' });
    report({ bench, what: `${what}, processor`, value: figures.cpuSeconds, unit: 's' });
    report({ bench, what: `${what}, peak memory`, value: figures.peakMemoryMb, unit: 'MB' });
  }
  for (const setup of debeziumSetups.filter(({ tuning }) => tuning === 'tuned')) {
    for (const changesPerSecond of [1_000, 10_000]) {
      const name = `latency_${setup.converter}_${changesPerSecond}`;
      const seconds = options.latencySeconds;
      const figures = await latencyWithDebezium({
        servers,
        setup,
        name,
        changesPerSecond,
        seconds,
      });
      const what = `Debezium, tuned, ${setup.converter}, commit to Kafka at ${changesPerSecond}/s`;
      report({ bench, what: `${what}, median`, value: figures.medianMs, unit: 'ms' });
      report({ bench, what: `${what}, p99`, value: figures.p99Ms, unit: 'ms' });
    }
  }
}

async function startDebezium({ servers, setup, name }: Bench): Promise<RunningConnect> {
  const { postgres, kafka, registry } = servers;
  // A frozen reader must not lose its slot.
  await postgres.run('postgres', 'alter system set wal_sender_timeout = 0');
  await postgres.run('postgres', 'select pg_reload_conf()');
  const url = await postgres.createDatabase(name);
  await postgres.run(name, `${eventTableSql}; create publication bench for all tables`);
  const settings = debeziumSettings({ url, prefix: name, slot: name, publication: 'bench' });
  const isTuned = setup.tuning === 'tuned';
  const connect = await startConnect({
    brokers: kafka.brokers,
    registryUrl: registry.url,
    converter: setup.converter,
    connector: {
      ...settings,
      'provide.transaction.metadata': false,
      ...(isTuned ? tuned.connector : {}),
    },
    jvm: isTuned ? tuned.jvm : defaultJvm,
  });
  while ((await postgres.run(name, isStreamingSql(name))).rowCount === 0) await pause(pollMs);
  return connect;
}

async function connectTo({ postgres }: PeerServers, name: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: postgres.url(name) });
  await client.connect();
  return client;
}

async function insertRows(client: pg.Client, first: number, last: number): Promise<void> {
  for (let from = first; from <= last; from += rowsPerTransaction) {
    await client.query(
      /* sql */ `
      insert into service_event
      select i, i % 5000, gen_random_uuid(), 'commerce:order:v1:requested',
        jsonb_build_object('step', i % 7, 'note', md5(i::text), 'order', md5((i * 7)::text), 'channel', 'app'),
        'ok', (i % 10000)::numeric / 100, now()
      from generate_series($1::bigint, $2::bigint) i`,
      [from, Math.min(last, from + rowsPerTransaction - 1)],
    );
  }
}

const topicOf = (name: string): string => `${name}.public.service_event`;

/** Waits until the topic holds this many records. */
async function untilRows({ servers, name }: Bench, rows: number): Promise<void> {
  await withAdmin(plainClient(servers.kafka.brokers), async (admin) => {
    for (;;) {
      const offsets = await admin.fetchTopicOffsets(topicOf(name)).catch(() => []);
      if (offsets.reduce((sum, { high }) => sum + Number(high), 0) >= rows) return;
      await pause(pollMs);
    }
  });
}

/** User and system time of a process so far. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold spaces; user and system time are the 12th and 13th field after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

async function peakMemoryMbOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

/** The id in a key, of JSON or of Avro in its frame (a zigzag number of at most seven bits a byte). */
function idOf(key: Buffer | null): number {
  if (key === null) return -1;
  if (key[0] !== 0) return (JSON.parse(key.toString()) as { readonly id: number }).id;
  let zigzag = 0;
  for (const [index, byte] of key.subarray(5).entries()) zigzag += (byte & 0x7f) * 2 ** (7 * index);
  return zigzag / 2;
}
