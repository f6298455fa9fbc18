import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { runCommandLine } from '../support/command-line.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { eventTableSql, insertEventsSql } from './backlog.ts';
import { peakMemoryMb } from './peak-memory.ts';
import { report } from './report.ts';

const seconds = 20;
const changesPerSecond = 2_000;
const rowsPerTransaction = 20;
const program = fileURLToPath(new URL('../../tributary.ts', import.meta.url));

/**
 * Commit to lake at 2,000 changes a second, in transactions of 20 rows, with capture and sink as
 * processes of their own; and what memory each of them came to hold.
 */
export async function benchLatency(): Promise<void> {
  await using server = await startTestPostgres();
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
  const url = await server.createDatabase('bench');
  await server.run('bench', eventTableSql);
  const env = { DATABASE_URL: url };
  const init = await runCommandLine(['init', '--source', url, '--dir', dir, '--apply'], { env });
  if (init.exit !== 0) throw new Error(init.stderr);
  const config = path.join(dir, 'tributary.yaml');
  const roles = [['capture'], ['sink', 'lake']].map((words) =>
    spawn(process.execPath, [program, ...words, '--config', config], {
      env: { ...process.env, ...env },
      stdio: 'ignore',
    }),
  );
  await untilStreaming(server);
  const behindMs = await write(url);
  await runCommandLine(['verify', '--config', config], { env });
  const memory = await Promise.all(roles.map(({ pid }) => peakMemoryMb(pid)));
  for (const role of roles) {
    role.kill('SIGTERM');
    await once(role, 'exit');
  }
  await reportLag(path.join(dir, 'data', 'lake.duckdb'));
  report({
    bench: 'latency',
    what: 'writer behind its plan at the end',
    value: behindMs,
    unit: 'ms',
  });
  for (const [index, role] of ['capture', 'sink'].entries()) {
    const value = memory[index];
    if (value !== undefined && value !== null)
      report({ bench: 'memory', what: `${role} peak`, value, unit: 'MB' });
  }
  await rm(dir, { recursive: true, force: true });
}

async function untilStreaming(server: TestPostgres): Promise<void> {
  for (;;) {
    const { rows } = await server.run('bench', 'select from pg_replication_slots where active');
    if (rows.length > 0) return;
    await pause(100);
  }
}

async function write(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const startedAt = performance.now();
  const perTransactionMs = (rowsPerTransaction * 1000) / changesPerSecond;
  let behindMs = 0;
  for (let number = 0; number * perTransactionMs < seconds * 1000; number += 1) {
    const from = number * rowsPerTransaction;
    await client.query(insertEventsSql, [from, from + rowsPerTransaction - 1]);
    behindMs = performance.now() - startedAt - (number + 1) * perTransactionMs;
    if (behindMs < 0) await pause(-behindMs);
  }
  await client.end();
  return Math.max(0, behindMs);
}

async function reportLag(lakePath: string): Promise<void> {
  await using lake = await openLakeReader(lakePath);
  const [row] = await lake.rows(/* sql */ `
    select count(*)::integer as n,
      quantile_cont(epoch(lag) * 1000, 0.5)::double as p50, quantile_cont(epoch(lag) * 1000, 0.99)::double as p99
    from (
      select commits.applied_at - changes._cdc_committed_at as lag
      from public.service_event__changes as changes
      join tributary._tributary_commits as commits on commits.batch_id = changes._cdc_batch_id
      where changes._cdc_op = 'c')`);
  const bench = 'latency';
  report({
    bench,
    what: `changes at ${changesPerSecond}/s`,
    value: Number(row?.['n']),
    unit: 'changes',
  });
  report({ bench, what: 'commit to lake, median', value: Number(row?.['p50']), unit: 'ms' });
  report({
    bench,
    what: 'commit to lake, p99',
    value: Number(row?.['p99']),
    unit: 'ms',
    aim: '< 1000',
  });
}
