import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Row, RowChange } from '../../commands/demo/book.ts';
import { type Business, createBusiness } from '../../commands/demo/history.ts';
import {
  currentCut,
  initialise,
  startPipeline,
  untilSnapshotIsDone,
} from '../../commands/demo/pipeline.ts';
import { runTraffic } from '../../commands/demo/traffic.ts';
import { demoLake } from '../../commands/demo/folder.ts';
import { configuredLake } from '../../commands/lakes/open-lake.ts';
import { buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { startTestPostgres } from '../support/postgres.ts';

/*
 * The whole pipeline once, and then the models beside the generator's own record of what it did. Nothing
 * that is expected here was read back from PostgreSQL or from the lake.
 */

const projectRoot = path.resolve(import.meta.dirname, '../..');
const dayMs = 86_400_000;
/** Event tables with the name of their type and time columns, and how their rows name a master. */
const eventTables: Readonly<Record<string, { type: string; at: string }>> = {
  service_event: { type: 'event_type', at: 'occurred_at' },
  service_security_event: { type: 'event_type', at: 'occurred_at' },
  service_analytics_event: { type: 'event_type', at: 'occurred_at' },
  service_activity_trace: { type: 'action', at: 'occurred_at' },
  service_scheduler_job_run: { type: 'job_name', at: 'started_at' },
  service_campaign_broadcast_event: { type: 'event_type', at: 'timestamp' },
};

let dir: string;
let business: Business;
/** What the traffic did, transaction by transaction: all of it was streamed. */
let streamed: readonly (readonly RowChange[])[];
let query: (sql: string) => Promise<readonly Record<string, unknown>[]>;
let close: () => Promise<void>;

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-book-'));
  await using server = await startTestPostgres();
  const url = await server.createDatabase('business');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  business = await createBusiness(client, { seed: 23, nowMs: Date.now(), scale: 0.4 });
  const { config } = await initialise(dir, url);
  const logFile = path.join(dir, 'tributary.log');
  const pipeline = startPipeline({ config, url, logFile, withModels: false });
  const settings = demoLake(config);
  try {
    await untilSnapshotIsDone(config);
    const before = business.book.transactions.length;
    await runTraffic({ client, business, seconds: 6, transactionsPerSecond: 120 });
    streamed = business.book.transactions.slice(before);
    const until = await currentCut(client, config);
    const mapping = (await initialise(dir, url)).plan.mapping;
    await configuredLake('lake', config).borrow({ purpose: 'test', until }, async () => {
      requireGood(
        await buildModels({ projectRoot, lake: duckdbLake(settings.path), workDir: dir, mapping }),
      );
    });
  } finally {
    await pipeline.stop();
    await client.end();
  }
  const lake = await openLakeReader(settings.path);
  query = (sql) => lake.rows(sql);
  close = () => lake.close();
}, 300_000);

afterAll(async () => {
  await close?.();
  await rm(dir, { recursive: true, force: true });
});

const everInserted = (table: string): Row[] =>
  business.book.transactions
    .flat()
    .filter((change) => change.table === table && change.op === 'insert')
    .flatMap(({ after }) => (after === null ? [] : [after]));

const text = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

test('dim_masters has every master that ever was, as it is or last was', async () => {
  const last = new Map<string, { type: unknown; name: unknown; gone: boolean }>();
  for (const { table, op, before, after } of business.book.transactions.flat()) {
    if (table !== 'master') continue;
    const row = after ?? before;
    last.set(text(row?.['id']), {
      type: row?.['type'],
      name: row?.['name'],
      gone: op === 'delete',
    });
  }
  const found = await query(
    'select master_key, master_type, master_name, is_deleted from analytics.dim_masters order by 1',
  );
  const expected = [...last].map(([key, { type, name, gone }]) => ({
    master_key: key,
    master_type: type,
    master_name: name,
    is_deleted: gone,
  }));
  expect(found).toEqual(
    expected.toSorted((one, other) => (one.master_key < other.master_key ? -1 : 1)),
  );
});

test('dim_masters_history has one version for each image that the source had', async () => {
  const versions = new Map<string, string[]>();
  for (const { table, after } of business.book.transactions.flat()) {
    if (table !== 'master' || after === null) continue;
    const key = text(after['id']);
    versions.set(key, [...(versions.get(key) ?? []), text(after['name'])]);
  }
  const rows = await query(
    'select master_key, master_name from analytics.dim_masters_history order by master_key, version_number',
  );
  const found = new Map<string, string[]>();
  for (const row of rows) {
    const key = text(row['master_key']);
    found.set(key, [...(found.get(key) ?? []), text(row['master_name'])]);
  }
  expect(found).toEqual(versions);
  expect([...versions.values()].some((names) => names.length > 1)).toBe(true);
});

test('fct_events has every event that was ever written, with its type, and knows which the source erased', async () => {
  const rows = await query(
    'select source_table, event_type, is_deleted_at_source, count(*)::integer as n from analytics.fct_events group by all',
  );
  const found = new Map(
    rows.map((row) => [
      [row['source_table'], row['event_type'], row['is_deleted_at_source']].join(' '),
      row['n'],
    ]),
  );
  const expected = new Map<string, number>();
  for (const [table, { type }] of Object.entries(eventTables)) {
    const living = countBy(business.book.rows(table), type);
    for (const [name, count] of countBy(everInserted(table), type)) {
      const alive = living.get(name) ?? 0;
      if (alive > 0) expected.set(`public.${table} ${name} false`, alive);
      if (count > alive) expected.set(`public.${table} ${name} true`, count - alive);
    }
  }
  expect(found).toEqual(expected);
});

test('three dialects of types and two spellings of correlation ids come to the same columns', async () => {
  const rows = await query(
    `select event_id, event_service, event_action, event_state, correlation_id from analytics.fct_events where source_table = 'public.service_event' order by event_id`,
  );
  const expected = everInserted('service_event').map((row) => {
    const metadata = row['metadata'] as Record<string, Record<string, string>>;
    const correlation =
      metadata['globalContext']?.['correlationId'] ??
      metadata['global_context']?.['correlation_id'];
    const [service, action, ...rest] = text(row['event_type']).split(/[:._]/);
    return {
      event_id: row['id'],
      event_service: service,
      event_action: action,
      event_state: rest.at(-1),
      correlation_id: correlation,
    };
  });
  expect(rows).toEqual(
    expected.toSorted((one, other) => (text(one.event_id) < text(other.event_id) ? -1 : 1)),
  );
});

test('fct_entity_changes has every streamed change of a row once, and whose it was even when only the key was sent', async () => {
  const rows = await query(
    `select source_table, op, count(*)::integer as n from analytics.fct_entity_changes where op <> 'r' group by all`,
  );
  const found = new Map(
    rows.map((row) => [`${text(row['source_table'])} ${text(row['op'])}`, row['n']]),
  );
  const expected = new Map<string, number>();
  const add = (key: string) => expected.set(key, (expected.get(key) ?? 0) + 1);
  for (const change of streamed.flat()) {
    if (change.table in eventTables) continue;
    for (const op of opsOf(change)) add(`public.${change.table} ${op}`);
  }
  expect(found).toEqual(expected);
  // A wallet goes only with its master, and its delete carries nothing but its key.
  const erased = streamed
    .flat()
    .filter(({ table, op }) => table === 'service_wallet_account' && op === 'delete')
    .map(({ before }) => ({
      row_key: text(before?.['id']),
      master_key: text(before?.['master_id']),
    }));
  expect(erased.length).toBeGreaterThan(0);
  const resolved = await query(
    `select row_key, master_key from analytics.fct_entity_changes where source_table = 'public.service_wallet_account' and op = 'd' order by row_key`,
  );
  expect(resolved).toEqual(erased.toSorted((one, other) => (one.row_key < other.row_key ? -1 : 1)));
});

test('the timeline of a deleted master still has all of its events', async () => {
  const [gone] = streamed.flat().filter(({ table, op }) => table === 'master' && op === 'delete');
  const id = gone?.before?.['id'];
  const events = Object.keys(eventTables)
    .flatMap((table) => everInserted(table))
    .filter((row) => row['master_id'] === id);
  const [row] = await query(
    `select count(*)::integer as n from analytics.fct_master_timeline where master_key = '${text(id)}' and kind = 'event' and role = 'subject'`,
  );
  expect(events.length).toBeGreaterThan(0);
  expect(row?.['n']).toBe(events.length);
});

test('feat_master_activity_daily counts, for every master on the last closed day, the events of its windows', async () => {
  const rows = await query(/* sql */ `
    select master_key, n_events_7d::integer as week, n_events_30d::integer as month, epoch_ms(as_of)::double as as_of
    from analytics.feat_master_activity_daily
    where role = 'subject' and as_of = (select max(as_of) from analytics.feat_master_activity_daily)`);
  const asOfMs = Number(rows[0]?.['as_of']);
  expect(asOfMs % dayMs).toBe(0);
  const found = new Map(rows.map((row) => [row['master_key'], [row['week'], row['month']]]));
  const expected = new Map<string, [number, number]>();
  const masters = new Set(everInserted('master').map((row) => row['id']));
  for (const [table, { at }] of Object.entries(eventTables)) {
    for (const row of everInserted(table)) {
      const id = row['master_id'] ?? null;
      const ageMs = asOfMs - momentMs(row[at]);
      if (id === null || !masters.has(id) || ageMs <= 0 || ageMs > 30 * dayMs) continue;
      const [week, month] = expected.get(text(id)) ?? [0, 0];
      expected.set(text(id), [week + (ageMs <= 7 * dayMs ? 1 : 0), month + 1]);
    }
  }
  expect(found).toEqual(expected);
});

function countBy(rows: readonly Row[], column: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(text(row[column]), (counts.get(text(row[column])) ?? 0) + 1);
  return counts;
}

/** A moved key is a delete and an insert half on the log. */
function opsOf({ table, op, before, after }: RowChange): readonly string[] {
  const key = table === 'service_referral_link' ? 'code' : 'id';
  if (op === 'update') return before?.[key] === after?.[key] ? ['u'] : ['d', 'c'];
  return [{ insert: 'c', delete: 'd', truncate: 't' }[op]];
}

function momentMs(value: unknown): number {
  return typeof value === 'number' ? value * 1000 : Date.parse(text(value));
}
