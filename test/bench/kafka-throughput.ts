import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { eventTableSql, writeBacklog } from './backlog.ts';
import { median, report } from './report.ts';
import { type ChildFigures, type KafkaServers, runChild } from './run-child.ts';

/** What capture writes to: Kafka through each client library, and the embedded log beside it. */
const drivers = ['auto', 'kafkajs', 'platformatic', 'embedded'] as const;
type Driver = (typeof drivers)[number];

const bench = 'kafka';

/** Each run has a slot of its own. */
const slotsMax = 100;

interface Scene {
  readonly url: string;
  readonly dir: string;
  readonly servers: Omit<KafkaServers, 'client' | 'prefix'>;
}

/**
 * One backlog of `rows` events, drained by each driver and by a process that discards it, in `turns`: each
 * turn begins with another driver, because the first finds a cold broker, and the machine's pace drifts. The
 * figures are medians over the turns. Gives what the default does.
 */
export async function benchKafkaCapture(rows: number, turns: number): Promise<ChildFigures> {
  await using server = await startTestPostgres({
    max_replication_slots: slotsMax,
    max_wal_senders: slotsMax,
  });
  await using kafka = await startTestKafka();
  await using registry = await startTestRegistry();
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
  const url = await server.createDatabase('bench');
  await server.run('bench', `${eventTableSql}; create publication bench for table service_event`);
  const { rows: lsns } = await server.run(
    'bench',
    'select pg_current_wal_flush_lsn()::text as lsn',
  );
  const before = String(lsns[0]?.lsn);
  const scene = { url, dir, servers: { brokers: kafka.brokers, registryUrl: registry.url } };
  const numbers = Array.from({ length: turns }, (_, turn) => turn);
  // The first start makes slot and topics and reads the empty table: not part of the figures.
  for (const turn of numbers)
    for (const driver of drivers) await run(scene, { driver, turn }, before);
  for (const turn of [...numbers, turns]) {
    const makeSlot = `select pg_create_logical_replication_slot('discard_${turn}', 'pgoutput')`;
    await server.run('bench', makeSlot);
  }
  const until = await writeBacklog(server, 'bench', rows);
  const discards: ChildFigures[] = [];
  const discard = async (turn: number) => {
    discards.push(await runChild(['discard', url, `discard_${turn}`, dir, until]));
  };
  const figures = new Map(drivers.map((driver) => [driver, [] as ChildFigures[]]));
  await discard(0);
  for (const turn of numbers) {
    for (const index of drivers.keys()) {
      const driver = drivers[(index + turn) % drivers.length] ?? 'auto';
      figures.get(driver)?.push(await run(scene, { driver, turn }, until));
    }
    await discard(turn + 1);
  }
  await rm(dir, { recursive: true, force: true });
  const ceiling = medianOf(discards);
  report({ bench, what: 'discarding reader', value: rows / ceiling.seconds, unit: 'rows/s' });
  for (const [driver, list] of figures)
    reportCapture(driver, { rows, own: medianOf(list), ceiling });
  return medianOf(figures.get('auto') ?? []);
}

async function run(
  { url, dir, servers }: Scene,
  { driver, turn }: { readonly driver: Driver; readonly turn: number },
  until: string,
): Promise<ChildFigures> {
  const name = `${driver}_${turn}`;
  const folder = path.join(dir, name);
  await mkdir(folder, { recursive: true });
  const words = [url, `capture_${name}`, folder, until];
  if (driver === 'embedded') return runChild(['capture', ...words]);
  const target: KafkaServers = { ...servers, client: driver, prefix: `bench-${name}` };
  return runChild(['kafka', ...words, JSON.stringify(target)]);
}

function medianOf(list: readonly ChildFigures[]): ChildFigures {
  return {
    seconds: median(list.map(({ seconds }) => seconds)),
    cpuSeconds: median(list.map(({ cpuSeconds }) => cpuSeconds)),
    peakMemoryMb: median(list.map(({ peakMemoryMb }) => peakMemoryMb)),
  };
}

interface Measured {
  readonly rows: number;
  readonly own: ChildFigures;
  readonly ceiling: ChildFigures;
}

function reportCapture(driver: Driver, { rows, own, ceiling }: Measured): void {
  const what = (figure: string) => `capture (${driver})${figure}`;
  const aimed = (aim: string) => (driver === 'auto' ? { aim } : {});
  report({ bench, what: what(''), value: rows / own.seconds, unit: 'rows/s' });
  report({ bench, what: what(' CPU'), value: (own.cpuSeconds * 1e6) / rows, unit: 'µs/row' });
  const memory = { value: own.peakMemoryMb, unit: 'MB', ...aimed('<= 200') };
  report({ bench, what: what(' peak memory'), ...memory });
  const ratio = { value: ceiling.seconds / own.seconds, unit: 'ratio', ...aimed('>= 0.9') };
  report({ bench, what: what(' / discarding reader'), ...ratio });
}
