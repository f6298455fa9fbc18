import Table from 'cli-table3';
import pc from 'picocolors';
import type { LakeReader } from '../../sinks/duckdb/read-lake.ts';
import { type Life, type Moment, pickLife, tellLife } from './life.ts';

const lifeLines = 9;
const candidatesMax = 500;

type Cells = readonly Record<string, unknown>[];

/** What the demo shows at the end, read back from the lake. */
export async function renderSummary(lake: LakeReader): Promise<string> {
  const sections = [await largestTables(lake), await oneMaster(lake), await features(lake)];
  return sections.join('\n');
}

export interface Lag {
  readonly changes: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** From a change's commit at the source to its commit in the lake, over all streamed changes. */
export async function readLag(lake: LakeReader): Promise<Lag> {
  const tables = await changeTables(lake);
  const all = tables.map(
    (table) =>
      `select _cdc_loaded_at - _cdc_committed_at as lag from ${table} where _cdc_committed_at is not null`,
  );
  const [row] = await lake.rows(/* sql */ `
    select count(*)::integer as changes,
      coalesce(quantile_cont(epoch(lag), 0.5), 0)::double * 1000 as median_ms,
      coalesce(quantile_cont(epoch(lag), 0.99), 0)::double * 1000 as p99_ms
    from (${all.join(' union all ')})`);
  return {
    changes: Number(row?.['changes']),
    medianMs: Number(row?.['median_ms']),
    p99Ms: Number(row?.['p99_ms']),
  };
}

async function largestTables(lake: LakeReader): Promise<string> {
  const names = await changeTables(lake);
  const counts = names.map((name) => {
    const label = name
      .replaceAll('"', '')
      .replace(/__changes$/, '')
      .replace(/^[^.]+\./, '');
    return `select '${label}' as name, count(*)::integer as changes, count(*) filter (where _cdc_op = 'r')::integer as read, count(*) filter (where _cdc_op = 'u')::integer as updates, count(*) filter (where _cdc_op = 'd')::integer as deletes from ${name}`;
  });
  const rows = await lake.rows(
    `select * from (${counts.join(' union all ')}) order by changes desc, name limit 6`,
  );
  return section(
    'Largest tables',
    renderTable(rows, {
      name: 'table',
      changes: 'changes',
      read: 'of the snapshot',
      updates: 'updates',
      deletes: 'deletes',
    }),
  );
}

/** One master's life from its beginning to its end, and what it is connected with. */
async function oneMaster(lake: LakeReader): Promise<string> {
  const life = pickLife(await readLives(lake));
  if (life === undefined) return section('One master', 'none');
  const key = life.masterKey.replaceAll("'", "''");
  const [master] = await lake.rows(/* sql */ `
    select master_name, master_type from analytics.dim_masters where master_key = '${key}'`);
  const edges = await lake.rows(/* sql */ `
    select edges.edge_type, count(*)::integer as edges
    from analytics.fct_lineage_edges as edges
    join analytics.dim_lineage_nodes as nodes on nodes.node_id = edges.from_node_id
    where nodes.master_key = '${key}' group by all order by edges desc, edge_type`);
  const title = `One master: ${String(master?.['master_type'])} ${String(master?.['master_name'])}`;
  const told = tellLife(life, lifeLines).map((scene) => ({
    ...scene,
    roles: scene.roles.join(', '),
  }));
  const lines = [
    renderTable(told, {
      happenedAt: 'happened at',
      what: 'what',
      roles: 'as',
      table: 'told by',
    }),
    `lineage from it: ${edges.map((edge) => `${String(edge['edge_type'])} × ${String(edge['edges'])}`).join(', ') || 'none'}`,
    await forgottenMasters(lake),
  ];
  return section(title, lines.join('\n'));
}

/** What a query of the source cannot find any more. */
async function forgottenMasters(lake: LakeReader): Promise<string> {
  const masters = await lake.rows(/* sql */ `
    select masters.master_type, masters.master_name, count(*)::integer as moments
    from analytics.dim_masters as masters
    join analytics.fct_master_timeline as timeline using (master_key)
    where masters.is_deleted group by all order by moments desc, masters.master_name limit 3`);
  const told = masters.map(
    ({ master_type: type, master_name: name, moments }) =>
      `${String(type)} ${String(name)} (${String(moments)} moments)`,
  );
  return `deleted at the source; only the lake still knows: ${told.join(', ') || 'none'}`;
}

/**
 * The lives of those masters that the most tables tell of: their own moments, and those of rows that point at
 * theirs, directly or over one row between (a payment, its order, the user's row). Only what has a date and says something.
 */
async function readLives(lake: LakeReader): Promise<readonly Life[]> {
  const rows = await lake.rows(/* sql */ `
    with dated as (
      select * from analytics.fct_master_timeline
      where happened_at > timestamp '1970-01-01' and summary not like '% written again'
    ),
    candidates as (
      select master_key from dated group by all
      order by count(distinct source_table || kind || role) desc, count(*) desc, master_key
      limit ${candidatesMax}
    ),
    edges as (
      select from_node_id, to_node_id, edge_type from analytics.fct_lineage_edges
      where edge_type in ('references', 'soft_ref') and from_node_id like 'row:%' and to_node_id like 'row:%'
    ),
    near as (
      select edges.from_node_id as node_id, own.master_key, edges.edge_type
      from edges
      join analytics.dim_lineage_nodes as own on own.node_id = edges.to_node_id
      join candidates using (master_key)
    ),
    connected as (
      select * from near
      union
      select edges.from_node_id, near.master_key, edges.edge_type
      from edges join near on near.node_id = edges.to_node_id
    ),
    moments as (
      select dated.* from dated join candidates using (master_key)
      union all
      select dated.* replace (connected.master_key as master_key, connected.edge_type as role)
      from dated
      join connected on connected.node_id = 'row:' || dated.source_table || '|' || dated.row_key
      where dated.kind = 'row_change' and dated.master_key <> connected.master_key
    )
    select moments.master_key, moments.change_id, moments.kind, moments.role,
      strftime(moments.happened_at, '%Y-%m-%d %H:%M:%S') as happened_at, moments.summary,
      regexp_replace(moments.source_table, '^[^.]*\\.', '') as source_table
    from moments`);
  const lives = Map.groupBy(rows, (row) => String(row['master_key']));
  return [...lives].map(([masterKey, moments]) => ({
    masterKey,
    moments: moments.map((row) => ({
      happenedAt: String(row['happened_at']),
      changeId: String(row['change_id']),
      kind: row['kind'] as Moment['kind'],
      role: String(row['role']),
      summary: String(row['summary']),
      table: String(row['source_table']),
    })),
  }));
}

async function features(lake: LakeReader): Promise<string> {
  const rows = await lake.rows(/* sql */ `
    select coalesce(masters.master_type || ' ' || masters.master_name, master_key) as master, role,
      strftime(as_of, '%Y-%m-%d') as as_of, n_events_7d, n_events_30d, n_errors_30d,
      n_distinct_types_30d, active_days_30d, round(hours_since_last_event, 1) as hours_since
    from analytics.feat_master_activity_daily
    left join analytics.dim_masters as masters using (master_key)
    order by as_of desc, n_events_30d desc, master_key limit 3`);
  return section(
    'Features (analytics.feat_master_activity_daily)',
    renderTable(rows, {
      master: 'master',
      role: 'role',
      as_of: 'as of',
      n_events_7d: 'events 7 d',
      n_events_30d: 'events 30 d',
      n_errors_30d: 'errors 30 d',
      n_distinct_types_30d: 'types 30 d',
      active_days_30d: 'active days 30 d',
      hours_since: 'hours since last',
    }),
  );
}

async function changeTables(lake: LakeReader): Promise<string[]> {
  const rows = await lake.rows(/* sql */ `
    select table_catalog, table_schema, table_name from information_schema.tables
    where table_name like '%\\_\\_changes' escape '\\' and table_type = 'BASE TABLE' order by table_schema, table_name`);
  return rows.map((row) =>
    [row['table_catalog'], row['table_schema'], row['table_name']]
      .map((part) => `"${String(part).replaceAll('"', '""')}"`)
      .join('.'),
  );
}

function section(title: string, text: string): string {
  return `\n${pc.bold(title)}\n${text}`;
}

function renderTable(rows: Cells, columns: Readonly<Record<string, string>>): string {
  const isNumber = (name: string) =>
    typeof rows[0]?.[name] === 'number' || typeof rows[0]?.[name] === 'bigint';
  const table = new Table({
    head: Object.values(columns),
    colAligns: Object.keys(columns).map((name) => (isNumber(name) ? 'right' : 'left')),
    // Colours only where picocolors would show them.
    style: {
      ...(pc.isColorSupported ? { head: ['dim'], border: ['dim'] } : { head: [], border: [] }),
      compact: true,
    },
  });
  for (const row of rows) table.push(Object.keys(columns).map((name) => cellText(row[name])));
  return table.toString();
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'number' || typeof value === 'bigint'
    ? value.toLocaleString('en-US')
    : String(value as string);
}
