import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import { controlTopics, type Watermark } from '../../schemas/control.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { runSink } from '../../sinks/run-sink.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { eventTableSql, writeBacklog } from './backlog.ts';
import { runChild } from './run-child.ts';
import { report } from './report.ts';

const prefix = 'bench';
const smallRows = 20_000;
/** Enough for some batches: the first one has nothing to overlap with, and the last is followed by the closing of the lake. */
const largeRows = 1_000_000;

/** A log of a million inserts of ten columns, loaded into an empty lake with small batches and with those of the default configuration. */
export async function benchLoad(): Promise<void> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
  await fillLog(dir);
  await flush(dir);
  await load(dir, { batchRowsMax: 1_000, rows: smallRows });
  await load(dir, { batchRowsMax: 200_000, rows: largeRows });
  await rm(dir, { recursive: true, force: true });
}

async function fillLog(dir: string): Promise<void> {
  await using server = await startTestPostgres();
  const url = await server.createDatabase('bench');
  await server.run('bench', `${eventTableSql}; create publication bench for table service_event`);
  const { rows } = await server.run('bench', 'select pg_current_wal_flush_lsn()::text as lsn');
  await runChild(['capture', url, 'bench', dir, String(rows[0]?.lsn)]);
  await runChild(['capture', url, 'bench', dir, await writeBacklog(server, 'bench', largeRows)]);
}

/** Writing the log is not what is measured: nothing of it is left to be written to the disk meanwhile. */
async function flush(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    await using file = await open(path.join(dir, name), 'r+');
    await file.sync();
  }
}

/** Loads until `rows` rows are in the lake, and reports the rate from the first batch on. */
async function load(
  dir: string,
  { batchRowsMax, rows }: { batchRowsMax: number; rows: number },
): Promise<void> {
  const file = path.join(dir, 'log.sqlite');
  const log = await openEmbeddedLog({ path: file, readOnly: true });
  const registry = await openEmbeddedRegistry({ path: file });
  const last = await log.lastRecord({ topic: controlTopics(prefix).watermarks, partition: 0 });
  const { cut } = JSON.parse(String(last?.value)) as Watermark;
  const enough = new AbortController();
  let loaded = 0;
  const startedAt = performance.now();
  await runSink(
    {
      log,
      registry,
      prefix,
      wants: () => true,
      sink: createDuckdbSink({ path: path.join(dir, `lake-${batchRowsMax}.duckdb`) }),
      limits: { batchRowsMax, batchBytesMax: 64 << 20 },
      observer: {
        onApplied: ({ batch }) => {
          loaded += batch.tables.reduce((sum, table) => sum + table.changes.length, 0);
          if (loaded >= rows || batch.checkpoint.applied >= cut) enough.abort();
        },
      },
    },
    { signal: enough.signal },
  );
  const value = loaded / ((performance.now() - startedAt) / 1000);
  const aim = batchRowsMax > 10_000 ? { aim: '>= 100000' } : {};
  report({
    bench: 'load',
    what: `log to DuckDB, batches of up to ${batchRowsMax} rows`,
    value,
    unit: 'rows/s',
    ...aim,
  });
  await registry.close();
  await log.close();
}
