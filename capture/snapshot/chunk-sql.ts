import type { TableSchema } from '../../schemas/table-schema.ts';
import type { KeyText } from './change-effect.ts';
import type { ChunkPlan } from './chunk-plan.ts';

/** 'a"b' → '"a""b"'. COPY takes no parameters, so names and values are written into the statement. */
function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Right whatever standard_conforming_strings says. */
function quoteText(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

function qualified(table: TableSchema): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`;
}

/** For what is asked outside of a chunk's transaction. */
export function lockTimeoutSql(lockMs: number): string {
  return /* sql */ `set lock_timeout = ${lockMs}`;
}

/** Settings that make a session write values as the replication stream does, and hide no row. */
export const sessionSql = /* sql */ `
  set datestyle = 'ISO'; set timezone = 'UTC'; set intervalstyle = 'postgres'; set extra_float_digits = 3;
  set bytea_output = 'hex'; set client_encoding = 'UTF8'; set search_path = pg_catalog;
  set row_security = off; set synchronous_commit = on; set default_transaction_read_only = off`;

/**
 * Begins a chunk. The lock comes before the snapshot: a truncate or rewrite is not MVCC-safe, so a
 * snapshot older than it would read an emptied table. Locking takes no snapshot yet.
 */
export function beginSql(
  table: TableSchema,
  limits: { readonly lockMs: number; readonly readMs: number },
): string {
  return /* sql */ `
    begin isolation level repeatable read, read only;
    set local lock_timeout = ${limits.lockMs}; set local statement_timeout = ${limits.readMs};
    lock table ${qualified(table)} in access share mode`;
}

/** The files of a table or of all leaves of a partitioned one, and its blocks: of the largest leaf. */
const storageSql = /* sql */ `
  (select string_agg(leaf || ':' || coalesce(pg_relation_filenode(leaf), 0), ',' order by leaf)
     from tributary_leaf)`;
const leavesSql = /* sql */ `
  with tributary_leaf as (
    select relid::oid as leaf from pg_partition_tree($1::text::regclass) where isleaf
    union select $1::text::regclass::oid where not exists (select from pg_partition_tree($1::text::regclass)))`;

export const measureSql = /* sql */ `${leavesSql}
  select ${storageSql},
    (select coalesce(max(pg_relation_size(leaf)), 0) / current_setting('block_size')::bigint from tributary_leaf)`;

/** Parameter of `measureSql` and `describeSql`: the table's name as regclass reads it. */
export function tableParameter(table: TableSchema): string {
  return qualified(table);
}

/**
 * The chunk's snapshot and, as that snapshot sees them, the table's oid, kind, files and columns with types. $1 table.
 */
export const describeSql = /* sql */ `${leavesSql}
  select pg_current_snapshot()::text, c.oid::text, c.relkind::text, ${storageSql},
    (select coalesce(json_agg(json_build_array(attname, format_type(atttypid, atttypmod), attgenerated) order by attnum), '[]')
       from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped)::text
  from pg_class c where c.oid = $1::text::regclass`;

/**
 * What each of the publications $1 publishes of the table $2: its column list (JSON), its row filter, and
 * which generated columns. Not from pg_publication_tables: that locks every published table for a moment,
 * so it would wait for a migration of another table while it holds up one of this.
 */
export const publishedSql = /* sql */ `
  with tributary_self as (
    select $2::text::regclass::oid as self union select relid::oid from pg_partition_ancestors($2::text::regclass))
  select (select json_agg(attname order by attnum)::text from pg_attribute
      where attrelid = r.prrelid and attnum = any(r.prattrs)),
    pg_get_expr(r.prqual, r.prrelid), coalesce(to_jsonb(p) ->> 'pubgencols', 'n')
  from pg_publication p
  left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = $2::text::regclass
  where p.pubname = any($1::name[]) and (p.puballtables
    or exists (select from pg_publication_rel o join tributary_self on self = o.prrelid where o.prpubid = p.oid)
    or exists (select from pg_publication_namespace n join pg_class c on c.relnamespace = n.pnnspid
      join tributary_self on self = c.oid where n.pnpubid = p.oid))`;

/** The same before PostgreSQL 15: neither lists, filters nor schemas exist. */
export const publishedBefore15Sql = /* sql */ `
  with tributary_self as (
    select $2::text::regclass::oid as self union select relid::oid from pg_partition_ancestors($2::text::regclass))
  select null, null, 'n' from pg_publication p
  where p.pubname = any($1::name[]) and (p.puballtables
    or exists (select from pg_publication_rel o join tributary_self on self = o.prrelid where o.prpubid = p.oid))`;

/**
 * Ids (32 bit) of the running transactions that have written to the table $1 or a leaf of it. A writer
 * holds its lock on the table until it has ended and is visible.
 */
export const writersSql = /* sql */ `
  select distinct own.transactionid::text from pg_locks own
  join pg_locks held on held.virtualtransaction = own.virtualtransaction
  where own.locktype = 'transactionid' and own.granted and own.mode = 'ExclusiveLock'
    and held.locktype = 'relation' and held.granted
    and held.mode not in ('AccessShareLock', 'RowShareLock')
    and held.database = (select oid from pg_database where datname = current_database())
    and held.relation in (select $1::text::regclass::oid
      union select relid::oid from pg_partition_tree($1::text::regclass))`;

export const snapshotSql = /* sql */ `select pg_current_snapshot()::text`;

export interface ChunkSqlOptions {
  /** Row filters of the publications; a row is published when one of them holds. */
  readonly filters: readonly string[];
  readonly isPartitioned: boolean;
  /** Type of each column, for the keys. */
  readonly columnTypes: ReadonlyMap<string, string>;
}

/** COPY of the rows of one chunk in the text format, columns in the order of the table version. */
export function copySql(plan: ChunkPlan, options: ChunkSqlOptions): string {
  const { table } = plan;
  const columns = table.columns.map((column) => `t.${quoteName(column.name)}`).join(', ');
  // A partitioned root is read with all its leaves at once: each scans its own blocks of the range.
  const from = `${options.isPartitioned ? '' : 'only '}${qualified(table)} as t`;
  const filter =
    options.filters.length === 0 ? 'true' : options.filters.map((one) => `(${one})`).join(' or ');
  return `copy (select ${columns} from ${from} where ${planSql(plan, options)} and (${filter})) to stdout`;
}

function planSql(plan: ChunkPlan, options: ChunkSqlOptions): string {
  switch (plan.kind) {
    case 'range':
      return `t.ctid >= '(${plan.from},0)' and t.ctid < '(${plan.to},0)'`;
    case 'whole':
      return 'true';
    case 'keys':
      return keysSql(plan.table, plan.keys, options.columnTypes);
  }
}

/** One `any` for a key of one column, so that its index serves; row values otherwise. */
function keysSql(
  table: TableSchema,
  keys: readonly KeyText[],
  types: ReadonlyMap<string, string>,
): string {
  const parsed = keys.map((key) => JSON.parse(key) as readonly string[]);
  const castTo = (name: string) => types.get(name) ?? 'text';
  const [first] = table.key;
  if (table.key.length === 1 && first !== undefined) {
    const list = parsed.map((key) => quoteText(key[0] ?? '')).join(', ');
    return `t.${quoteName(first)} = any (array[${list}]::${castTo(first)}[])`;
  }
  const values = parsed.map(
    (key) =>
      `(${key.map((text, at) => `${quoteText(text)}::${castTo(table.key[at] ?? '')}`).join(', ')})`,
  );
  const names = table.key.map((name) => `t.${quoteName(name)}`).join(', ');
  return `(${names}) in (select * from (values ${values.join(', ')}) as k)`;
}

/** Gives an id to a transaction of its own, higher than that of every one running. */
export const newTransactionSql = /* sql */ `select pg_current_xact_id()::text`;
