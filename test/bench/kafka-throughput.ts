import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { startTestKafka, startTestRegistry } from '../support/kafka.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { eventTableSql, writeBacklog } from './backlog.ts';
import { report } from './report.ts';
import { type ChildFigures, type KafkaServers, runChild } from './run-child.ts';

const clients = ['auto', 'kafkajs', 'platformatic'] as const;
const bench = 'kafka';

/**
 * One backlog of `rows` events, drained into a real Kafka with each client library, against a process that
 * reads the same stream and discards it. Gives what the default does.
 */
export async function benchKafkaCapture(rows: number): Promise<ChildFigures> {
  await using server = await startTestPostgres();
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
  const run = async (client: KafkaServers['client'], until: string): Promise<ChildFigures> => {
    const folder = path.join(dir, client);
    await mkdir(folder, { recursive: true });
    const servers: KafkaServers = {
      brokers: kafka.brokers,
      registryUrl: registry.url,
      client,
      prefix: `bench-${client}`,
    };
    return await runChild([
      'kafka',
      url,
      `capture_${client}`,
      folder,
      until,
      JSON.stringify(servers),
    ]);
  };
  // The first start makes slot and topics and reads the empty table: not part of the figures.
  for (const client of clients) await run(client, before);
  const discardSlot = `select pg_create_logical_replication_slot('discard', 'pgoutput')`;
  await server.run('bench', discardSlot);
  const until = await writeBacklog(server, 'bench', rows);
  const ceiling = await runChild(['discard', url, 'discard', dir, until]);
  report({ bench, what: 'discarding reader', value: rows / ceiling.seconds, unit: 'rows/s' });
  const figures = new Map<string, ChildFigures>();
  for (const client of clients) {
    const own = await run(client, until);
    figures.set(client, own);
    reportCapture(client, rows, own);
    const ratio = ceiling.seconds / own.seconds;
    const aim = client === 'auto' ? { aim: '>= 0.9' } : {};
    report({
      bench,
      what: `capture (${client}) / discarding reader`,
      value: ratio,
      unit: 'ratio',
      ...aim,
    });
  }
  await rm(dir, { recursive: true, force: true });
  return figures.get('auto') ?? ceiling;
}

function reportCapture(client: string, rows: number, own: ChildFigures): void {
  const what = (figure: string) => `capture (${client})${figure}`;
  report({ bench, what: what(''), value: rows / own.seconds, unit: 'rows/s' });
  report({ bench, what: what(' CPU'), value: (own.cpuSeconds * 1e6) / rows, unit: 'µs/row' });
  const aim = client === 'auto' ? { aim: '<= 200' } : {};
  report({ bench, what: what(' peak memory'), value: own.peakMemoryMb, unit: 'MB', ...aim });
}
