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
import { eventTableSql } from './backlog.ts';
import { median, quantile, report } from './report.ts';
import { type KafkaServers, runChild } from './run-child.ts';

const bench = 'kafka-latency';
const rates = [1_000, 10_000] as const;
const seconds = 10;
const transactionsPerSecond = 100;
const partitions = 4;
/** Every change must be readable by then, or capture is stuck. */
const arriveMsMax = 60_000;

/** Commit to readable in Kafka, at each of the rates. The clock of one process times both ends. */
export async function benchKafkaLatency(): Promise<void> {
  await using server = await startTestPostgres();
  await using kafka = await startTestKafka();
  await using registry = await startTestRegistry();
  for (const rate of rates) {
    const name = `latency_${rate}`;
    const url = await server.createDatabase(name);
    await server.run(name, `${eventTableSql}; create publication bench for table service_event`);
    const { brokers } = kafka;
    const servers: KafkaServers = {
      brokers,
      registryUrl: registry.url,
      client: 'auto',
      prefix: name,
    };
    const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
    const ended = new AbortController();
    const words = ['kafka', url, name, dir, 'FFFFFFFF/FFFFFFFF', JSON.stringify(servers)];
    const capture = runChild(words, ended.signal);
    const log = await openKafkaLog({ config: kafkaConfig({ brokers, prefix: name }) });
    try {
      await Promise.race([
        measure(log, { url, topic: `${name}.public.service_event`, rate }),
        capture,
      ]);
    } finally {
      ended.abort();
      await capture.catch(() => undefined);
      await log.close();
    }
  }
}

interface Run {
  readonly url: string;
  readonly topic: string;
  readonly rate: number;
}

async function measure(log: Log, { url, topic, rate }: Run): Promise<void> {
  const perTransaction = rate / transactionsPerSecond;
  const total = rate * seconds;
  const committedAt: number[] = [];
  const latencies: number[] = [];
  await using client = await openWriter(url);
  // Capture makes its topics when it starts; the first rows wait for it and are not measured.
  while (!(await log.ranges([topic])).has(topic)) await pause(50);
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
        const transaction = Math.floor((idOf(record.key) - 1) / perTransaction);
        latencies.push(now - (committedAt[transaction] ?? Number.NaN));
        offset = record.offset + 1;
      }
    }
  });
  const behindMs = await write(client.pg, { perTransaction, committedAt });
  const deadline = performance.now() + arriveMsMax;
  while (latencies.length < total && performance.now() < deadline) await pause(20);
  done.abort();
  await Promise.all(readers);
  if (latencies.length !== total)
    throw new Error(`${latencies.length} of ${total} changes were readable`);
  // The first second is that of a cold process.
  const warm = latencies.slice(rate);
  const what = (figure: string) => `commit to readable at ${rate}/s, ${figure}`;
  report({ bench, what: what('median'), value: median(warm), unit: 'ms' });
  report({ bench, what: what('p99'), value: quantile(warm, 0.99), unit: 'ms' });
  report({ bench, what: what('writer behind its plan'), value: behindMs, unit: 'ms' });
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
    await client.query(
      `insert into service_event select i, i % 5000, gen_random_uuid(), 'commerce:order:v1:requested',
        jsonb_build_object('step', i % 7, 'note', md5(i::text)), 'ok', (i % 10000)::numeric / 100, clock_timestamp()
       from generate_series($1::bigint, $2::bigint) i`,
      [from, from + perTransaction - 1],
    );
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
