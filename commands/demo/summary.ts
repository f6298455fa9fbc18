import Table from 'cli-table3';
import pc from 'picocolors';
import type { LakeReader } from '../../sinks/duckdb/read-lake.ts';

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

/** A master that was deleted, if there is one: what the source has forgotten and the lake still tells. */
async function oneMaster(lake: LakeReader): Promise<string> {
  const [master] = await lake.rows(/* sql */ `
    select masters.master_key, masters.master_name, masters.master_type, masters.is_deleted
    from analytics.dim_masters as masters
    join analytics.fct_master_timeline as timeline on timeline.master_key = masters.master_key
    group by all order by masters.is_deleted desc, count(*) desc, masters.master_key limit 1`);
  if (master === undefined) return section('One master', 'none');
  const key = String(master['master_key']).replaceAll("'", "''");
  const timeline = await lake.rows(/* sql */ `
    select strftime(happened_at, '%Y-%m-%d %H:%M:%S') as happened_at, kind, role, summary
    from analytics.fct_master_timeline where master_key = '${key}' order by happened_at desc, moment_key limit 8`);
  const edges = await lake.rows(/* sql */ `
    select edges.edge_type, count(*)::integer as edges, count(distinct edges.to_node_id)::integer as nodes
    from analytics.fct_lineage_edges as edges
    join analytics.dim_lineage_nodes as nodes on nodes.node_id = edges.from_node_id
    where nodes.master_key = '${key}' group by all order by edges desc`);
  const fate =
    master['is_deleted'] === true ? ', deleted at the source; only the lake still knows' : '';
  const title = `One master: ${String(master['master_type'])} ${String(master['master_name'])}${fate}`;
  const lines = [
    renderTable(timeline, {
      happened_at: 'happened at',
      kind: 'kind',
      role: 'as',
      summary: 'what',
    }),
    `lineage from it: ${edges.map((edge) => `${String(edge['edge_type'])} × ${String(edge['edges'])}`).join(', ') || 'none'}`,
  ];
  return section(title, lines.join('\n'));
}

async function features(lake: LakeReader): Promise<string> {
  const rows = await lake.rows(/* sql */ `
    select master_key, role, strftime(as_of, '%Y-%m-%d') as as_of, n_events_7d, n_events_30d, n_errors_30d,
      n_distinct_types_30d, active_days_30d, round(hours_since_last_event, 1) as hours_since
    from analytics.feat_master_activity_daily order by as_of desc, n_events_30d desc, master_key limit 3`);
  return section(
    'Features (analytics.feat_master_activity_daily)',
    renderTable(rows, {
      master_key: 'master',
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
