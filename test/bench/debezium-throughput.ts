import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import { kafkaConfig } from '../support/kafka-config.ts';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { writeBacklog } from './backlog.ts';
import { type BenchServers, startDebezium } from './debezium-process.ts';
import { peakMemoryMb } from './peak-memory.ts';
import { report } from './report.ts';
import type { ChildFigures } from './run-child.ts';

const bench = 'debezium';
const pollMs = 20;
/** Nothing new for this long: it is stuck, and its state says why. */
const stuckMs = 60_000;
/** What `getconf CLK_TCK` says on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** A backlog of `rows` events drained by Debezium in each of the variants, one after the other. */
export async function benchDebezium(
  rows: number,
  variants: readonly string[],
): Promise<readonly ChildFigures[]> {
  await using servers = await startServers();
  report({ bench, what: 'backlog', value: rows, unit: 'rows' });
  const all: ChildFigures[] = [];
  for (const variant of variants) {
    const own = await drainBacklog(servers, variant, rows);
    report({ bench, what: variant, value: rows / own.seconds, unit: 'rows/s' });
    const cpu = (own.cpuSeconds * 1e6) / rows;
    report({ bench, what: `${variant} CPU`, value: cpu, unit: 'µs/row' });
    report({ bench, what: `${variant} CPU in all`, value: own.cpuSeconds, unit: 's' });
    report({ bench, what: `${variant} peak memory`, value: own.peakMemoryMb, unit: 'MB' });
    all.push(own);
  }
  return all;
}

async function startServers(): Promise<BenchServers & AsyncDisposable> {
  await using resources = new AsyncDisposableStack();
  // Frozen below while the backlog is written: the server must not give it up.
  const postgres = resources.use(await startTestPostgres({ wal_sender_timeout: 0 }));
  const kafka = resources.use(await startTestKafka());
  const registry = resources.use(await startTestRegistry());
  const kept = resources.move();
  return { postgres, kafka, registry, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/**
 * Debezium starts on the empty table and is frozen while the backlog is written: neither the start of a
 * JVM nor that of Connect is part of the figures. CPU counts from its thaw, the clock from the first record.
 */
async function drainBacklog(
  servers: BenchServers,
  variant: string,
  rows: number,
): Promise<ChildFigures> {
  const prefix = `dbz_${variant.replace('-', '_')}`;
  await using connect = await startDebezium(servers, variant, prefix);
  connect.signal('SIGSTOP');
  await writeBacklog(servers.postgres, prefix, rows);
  const cpuBefore = await cpuSecondsOf(connect.pid);
  connect.signal('SIGCONT');
  const seconds = await untilInTopic(
    { brokers: servers.kafka.brokers, prefix },
    { rows, state: connect.state },
  );
  const cpuSeconds = (await cpuSecondsOf(connect.pid)) - cpuBefore;
  return { seconds, cpuSeconds, peakMemoryMb: (await peakMemoryMb(connect.pid)) ?? Number.NaN };
}

/**
 * Seconds that all rows take at the pace from the first records seen in the topic to the last: what passes
 * before the first, such as finding the way back after the thaw, does not count against Debezium.
 */
async function untilInTopic(
  { brokers, prefix }: { readonly brokers: readonly string[]; readonly prefix: string },
  { rows, state }: { readonly rows: number; readonly state: () => Promise<string> },
): Promise<number> {
  const log = await openKafkaLog({ config: kafkaConfig({ brokers, prefix }), readOnly: true });
  const topic = `${prefix}.public.service_event`;
  let [seen, seenAt] = [0, performance.now()];
  let first = { held: 0, at: seenAt };
  try {
    while (seen < rows) {
      const ranges = (await log.ranges([topic])).get(topic) ?? [];
      const held = ranges.reduce((sum, { end }) => sum + end, 0);
      if (held > seen) {
        seenAt = performance.now();
        if (seen === 0) first = { held, at: seenAt };
        seen = held;
      } else if (performance.now() - seenAt > stuckMs)
        throw new Error(`Debezium stopped at ${seen} of ${rows} rows: ${await state()}`);
      await pause(pollMs);
    }
    if (first.held >= rows) throw new Error(`${rows} rows came at once: take more of them`);
    return ((seenAt - first.at) / 1000) * (rows / (rows - first.held));
  } finally {
    await log.close();
  }
}

/** User and system time of a process, all its threads. */
async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold blanks; utime and stime are the 12th and 13th words behind it.
  const words = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(words[11]) + Number(words[12])) / ticksPerSecond;
}
