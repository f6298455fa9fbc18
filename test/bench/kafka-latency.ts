import { mkdtemp } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { Log } from '../../log/log.ts';
import { kafkaConfig } from '../support/kafka-config.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { eventTableSql, insertEventsSql } from './backlog.ts';
import { type BenchServers, startDebezium } from './debezium-process.ts';
import { median, quantile, report } from './report.ts';
import { type KafkaServers, runChild } from './run-child.ts';

const bench = 'kafka-latency';
const rates = [1_000, 10_000] as const;
/** Who brings the changes to Kafka. Debezium writes Avro too, so that its keys are read alike. */
const systems = ['capture', 'default-avro', 'tuned-avro'] as const;
type System = (typeof systems)[number];
const seconds = 10;
const transactionsPerSecond = 100;
const pollMs = 20;
/** Every change must be readable by then, or it is stuck; Debezium falls far behind on a slow machine. */
const arriveMsMax = 300_000;

/**
 * Commit to readable in Kafka, at each of the rates, ours beside Debezium's. The clock of one process times
 * both ends.
 */
export async function benchKafkaLatency(): Promise<void> {
  await using postgres = await startTestPostgres();
  await using kafka = await startTestKafka();
  await using registry = await startTestRegistry();
  const servers = { postgres, kafka, registry };
  for (const rate of rates) {
    for (const system of systems) await measureSystem(servers, system, rate);
  }
}

async function measureSystem(servers: BenchServers, system: System, rate: number): Promise<void> {
  const name = `latency_${rate}_${system.replace('-', '_')}`;
  await using running = await startSystem(servers, system, name);
  const { brokers } = servers.kafka;
  // kafkajs does not read lz4, with which the tuned Debezium compresses.
  const config = kafkaConfig({ brokers, prefix: name, client: 'platformatic' });
  const log = await openKafkaLog({ config, readOnly: true });
  try {
    const run = { url: running.url, topic: `${name}.public.service_event`, rate };
    reportLatencies(system, rate, await Promise.race([measure(log, run), running.broken]));
  } finally {
    await log.close();
  }
}

interface RunningSystem extends AsyncDisposable {
  readonly url: string;
  /** Rejects when it ends by itself. */
  readonly broken: Promise<never>;
}

async function startSystem(
  servers: BenchServers,
  system: System,
  name: string,
): Promise<RunningSystem> {
  if (system !== 'capture') {
    const debezium = await startDebezium(servers, system, name);
    return { ...debezium, broken: new Promise<never>(() => undefined) };
  }
  const { postgres, kafka, registry } = servers;
  const url = await postgres.createDatabase(name);
  await postgres.run(name, `${eventTableSql}; create publication bench for table service_event`);
  const target: KafkaServers = {
    brokers: kafka.brokers,
    registryUrl: registry.url,
    client: 'auto',
    prefix: name,
  };
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
  const ended = new AbortController();
  const words = ['kafka', url, name, dir, 'FFFFFFFF/FFFFFFFF', JSON.stringify(target)];
  const capture = runChild(words, ended.signal);
  const broken = capture.then(() => {
    throw new Error('capture ended');
  });
  broken.catch(() => undefined);
  const stop = async () => {
    ended.abort();
    await capture.catch(() => undefined);
  };
  return { url, broken, [Symbol.asyncDispose]: stop };
}

interface Run {
  readonly url: string;
  readonly topic: string;
  readonly rate: number;
}

async function measure(log: Log, { url, topic, rate }: Run): Promise<Latencies> {
  const perTransaction = rate / transactionsPerSecond;
  const total = rate * seconds;
  const committedAt: number[] = [];
  const latencies: number[] = [];
  await using client = await openWriter(url);
  // The first change makes the topic, and shows that everything has started; it is not measured.
  await client.pg.query(insertEventsSql, [0, 0]);
  const partitions = await untilHeld(log, topic);
  const done = new AbortController();
  const readers = Array.from({ length: partitions }, async (_, partition) => {
    let offset = 0;
    while (!done.signal.aborted) {
      const records = await log.read(
        { topic, partition, offset },
        { bytesMax: 4_194_304, waitMs: 1_000, signal: done.signal },
      );
      const now = performance.now();
      for (const record of records) {
        offset = record.offset + 1;
        const id = idOf(record.key);
        if (id === 0) continue;
        latencies.push(now - (committedAt[Math.floor((id - 1) / perTransaction)] ?? Number.NaN));
      }
    }
  });
  const reading = Promise.all(readers);
  reading.catch(() => done.abort());
  const behindMs = await write(client.pg, { perTransaction, committedAt });
  const deadline = performance.now() + arriveMsMax;
  while (latencies.length < total && performance.now() < deadline && !done.signal.aborted) {
    await pause(pollMs);
  }
  done.abort();
  await reading;
  if (latencies.length !== total)
    throw new Error(`${latencies.length} of ${total} changes were readable`);
  // The first second is that of a cold process.
  return { latencies: latencies.slice(rate), behindMs };
}

interface Latencies {
  readonly latencies: readonly number[];
  readonly behindMs: number;
}

function reportLatencies(system: System, rate: number, { latencies, behindMs }: Latencies): void {
  const what = (figure: string) => `${system}: commit to readable at ${rate}/s, ${figure}`;
  report({ bench, what: what('median'), value: median(latencies), unit: 'ms' });
  report({ bench, what: what('p99'), value: quantile(latencies, 0.99), unit: 'ms' });
  report({ bench, what: what('writer behind its plan'), value: behindMs, unit: 'ms' });
}

/** Partitions of the topic, once it holds a record. */
async function untilHeld(log: Log, topic: string): Promise<number> {
  const deadline = performance.now() + arriveMsMax;
  while (performance.now() < deadline) {
    const ranges = (await log.ranges([topic])).get(topic) ?? [];
    if (ranges.some(({ end }) => end > 0)) return ranges.length;
    await pause(pollMs);
  }
  throw new Error(`nothing came into topic ${topic}`);
}

async function openWriter(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return { pg: client, [Symbol.asyncDispose]: () => client.end() };
}

interface Plan {
  readonly perTransaction: number;
  /** Filled: when each transaction's COMMIT was sent. */
  readonly committedAt: number[];
}

async function write(client: pg.Client, { perTransaction, committedAt }: Plan): Promise<number> {
  const startedAt = performance.now();
  let behindMs = 0;
  for (let number = 0; number < seconds * transactionsPerSecond; number += 1) {
    const from = number * perTransaction + 1;
    await client.query('begin');
    await client.query(insertEventsSql, [from, from + perTransaction - 1]);
    committedAt[number] = performance.now();
    await client.query('commit');
    behindMs = performance.now() - startedAt - ((number + 1) * 1000) / transactionsPerSecond;
    if (behindMs < 0) await pause(-behindMs);
  }
  return Math.max(0, behindMs);
}

/** The key is a record of one long: magic byte, schema id, the number as a zigzag varint. */
function idOf(key: Buffer | null): number {
  let [value, scale] = [0, 1];
  for (const byte of key?.subarray(5) ?? []) {
    value += (byte & 0x7f) * scale;
    scale *= 128;
  }
  return value / 2;
}
