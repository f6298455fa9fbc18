import pg from 'pg';
import type { TestPostgres } from '../support/postgres.ts';

export const backlogRows = 300_000;
const rowsPerTransaction = 1_000;

/** The shape that events have: 10 columns, about 290 bytes a row. */
export const eventTableSql = /* sql */ `
  create table service_event (id bigint primary key, master_id bigint not null, master_uuid uuid not null,
    event_type text not null, payload jsonb not null, status text, amount numeric(12,2), attempt integer not null,
    is_test boolean not null, occurred_at timestamptz not null)`;

/** Rows from `$1` to `$2`. */
export const insertEventsSql = /* sql */ `
  insert into service_event
  select i, i % 5000, gen_random_uuid(), 'commerce:order:v1:requested',
    jsonb_build_object('step', i % 7, 'note', md5(i::text), 'order', md5((i * 7)::text), 'channel', 'app'),
    'ok', (i % 10000)::numeric / 100, i % 3, i % 50 = 0, now()
  from generate_series($1::bigint, $2::bigint) i`;

/** Commits the backlog in transactions of 1,000 rows; gives the LSN behind the last. */
export async function writeBacklog(
  server: TestPostgres,
  database: string,
  rows = backlogRows,
): Promise<string> {
  const client = new pg.Client({ connectionString: server.url(database) });
  await client.connect();
  for (let from = 1; from <= rows; from += rowsPerTransaction) {
    await client.query(insertEventsSql, [from, from + rowsPerTransaction - 1]);
  }
  const { rows: ends } = await client.query<{ lsn: string }>(
    'select pg_current_wal_flush_lsn() as lsn',
  );
  await client.end();
  return ends[0]?.lsn ?? '0/0';
}
