import type {
  CatalogColumn,
  CatalogForeignKey,
  CatalogTable,
  CatalogType,
} from '../../schemas/catalog.ts';
import { query, type SqlSession } from './connection.ts';
import { compilePatterns, type TablePatterns } from './table-patterns.ts';

/**
 * The tables whose "schema.table" the patterns match, partitioned roots but not their leaves, in name
 * order. Five queries however many tables there are.
 */
export async function readCatalog(
  session: SqlSession,
  patterns: TablePatterns,
): Promise<readonly CatalogTable[]> {
  const matches = compilePatterns(patterns);
  const rows = await query<{ oid: string; schema: string; name: string }>(
    session,
    /* sql */ `
    select c.oid::text as oid, n.nspname as schema, c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`,
  );
  const oids = rows.filter((row) => matches(`${row.schema}.${row.name}`)).map((row) => row.oid);
  return await readTables(session, oids.map(Number));
}

/** Whether the table is, by now, a partition of another. */
export async function isPartition(session: SqlSession, oid: number): Promise<boolean> {
  const [row] = await query<{ is_partition: boolean }>(
    session,
    'select relispartition as is_partition from pg_class where oid = $1',
    [String(oid)],
  );
  return row?.is_partition ?? false;
}

/** The tables with these oids, leaves of partitioned tables included; unknown oids are left out. */
export async function readTables(
  session: SqlSession,
  oids: readonly number[],
): Promise<readonly CatalogTable[]> {
  if (oids.length === 0) return [];
  const wanted = [oids.map(String)];
  const tables = await query<TableRow>(session, tableSql, wanted);
  const columns = groupByTable(await query<ColumnRow>(session, columnSql, wanted));
  const indexes = groupByTable(await query<IndexRow>(session, indexSql, wanted));
  const foreignKeys = groupByTable(await query<ForeignKeyRow>(session, foreignKeySql, wanted));
  // One that was dropped in between would look like a table without columns, or without a key.
  const left = await query<{ oid: string }>(session, leftSql, wanted);
  const isLeft = new Set(left.map(({ oid }) => oid));
  const whole = tables.filter(({ oid }) => isLeft.has(oid));
  return whole.map((row) => {
    const unique = indexes.get(row.oid) ?? [];
    return {
      oid: Number(row.oid),
      schema: row.schema,
      name: row.name,
      kind: row.kind,
      columns: (columns.get(row.oid) ?? []).map(toColumn),
      primaryKey: unique.find((index) => index.is_primary)?.columns ?? [],
      identityIndex: unique.find((index) => index.is_identity)?.columns ?? [],
      replicaIdentity: replicaIdentities[row.identity] ?? 'default',
      foreignKeys: (foreignKeys.get(row.oid) ?? []).map(toForeignKey),
      uniqueKeys: unique.map((index) => index.columns),
      rowEstimate: Math.max(0, Number(row.row_estimate)),
      bytes: Number(row.bytes),
      comment: row.comment,
    };
  });
}

const leftSql = 'select oid::text as oid from pg_class where oid = any($1::oid[])';

/** Types by oid; all of them unless named. */
export async function readTypes(
  session: SqlSession,
  oids?: readonly number[],
): Promise<ReadonlyMap<number, CatalogType>> {
  const rows = await query<TypeRow>(session, typeSql, [oids?.map(String) ?? null]);
  return new Map(
    rows.map((row) => [
      Number(row.oid),
      {
        oid: Number(row.oid),
        schema: row.schema,
        name: row.name,
        kind: row.kind,
        category: row.category,
        elementOid: Number(row.element),
        baseOid: Number(row.base),
        baseTypeModifier: row.base_modifier,
        enumLabels: row.labels,
      },
    ]),
  );
}

/** `format_type` of types and modifiers, in the order asked. */
export async function formatTypes(
  session: SqlSession,
  types: readonly { readonly typeOid: number; readonly typeModifier: number }[],
): Promise<readonly string[]> {
  const rows = await query<{ text: string }>(
    session,
    /* sql */ `
    select format_type(t.oid, t.modifier) as text
    from unnest($1::oid[], $2::int[]) with ordinality t(oid, modifier, place) order by place`,
    [types.map((type) => String(type.typeOid)), types.map((type) => type.typeModifier)],
  );
  return rows.map((row) => row.text);
}

export const replicaIdentities: Readonly<Record<string, CatalogTable['replicaIdentity']>> = {
  d: 'default',
  f: 'full',
  i: 'index',
  n: 'nothing',
};

const deleteActions: Readonly<Record<string, CatalogForeignKey['onDelete']>> = {
  a: 'no action',
  c: 'cascade',
  d: 'set default',
  n: 'set null',
  r: 'restrict',
};

type OfTable = { readonly table_oid: string };

interface TableRow {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'r' | 'p';
  readonly identity: string;
  readonly row_estimate: string;
  readonly bytes: string;
  readonly comment: string | null;
}

interface ColumnRow extends OfTable {
  readonly name: string;
  readonly attnum: number;
  readonly type_oid: string;
  readonly type_modifier: number;
  readonly pg_type: string;
  readonly nullable: boolean;
  readonly default_expression: string | null;
  readonly missing_value: string | null;
  readonly generated: 'stored' | 'virtual' | null;
  readonly comment: string | null;
}

interface IndexRow extends OfTable {
  readonly is_primary: boolean;
  readonly is_identity: boolean;
  readonly columns: string[];
}

interface ForeignKeyRow extends OfTable {
  readonly columns: string[];
  readonly target_schema: string;
  readonly target_table: string;
  readonly target_columns: string[];
  readonly on_delete: string;
}

interface TypeRow {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly category: string;
  readonly element: string;
  readonly base: string;
  readonly base_modifier: number;
  readonly labels: string[];
}

const tableSql = /* sql */ `
  select c.oid::text as oid, n.nspname as schema, c.relname as name, c.relkind as kind,
    c.relreplident as identity, c.reltuples::bigint::text as row_estimate,
    pg_total_relation_size(c.oid)::text as bytes, obj_description(c.oid, 'pg_class') as comment
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = any($1::oid[]) and c.relkind in ('r', 'p')
  order by n.nspname collate "C", c.relname collate "C"`;

const columnSql = /* sql */ `
  select a.attrelid::text as table_oid, a.attname as name, a.attnum, a.atttypid::text as type_oid,
    a.atttypmod as type_modifier, format_type(a.atttypid, a.atttypmod) as pg_type,
    not a.attnotnull as nullable,
    case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end as default_expression,
    (a.attmissingval::text::text[])[1] as missing_value,
    case a.attgenerated when 's' then 'stored' when 'v' then 'virtual' end as generated,
    col_description(a.attrelid, a.attnum) as comment
  from pg_attribute a
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped
  order by a.attrelid, a.attnum`;

const indexSql = /* sql */ `
  select i.indrelid::text as table_oid, i.indisprimary as is_primary, i.indisreplident as is_identity,
    array(
      select a.attname::text
      from unnest(i.indkey) with ordinality k(attnum, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where k.place <= i.indnkeyatts order by k.place
    ) as columns
  from pg_index i
  where i.indrelid = any($1::oid[]) and i.indisunique and i.indisvalid
    and i.indpred is null and i.indexprs is null
  order by i.indrelid, i.indisprimary desc, i.indexrelid`;

const foreignKeySql = /* sql */ `
  select f.conrelid::text as table_oid, n.nspname as target_schema, t.relname as target_table,
    f.confdeltype as on_delete,
    array(
      select a.attname::text from unnest(f.conkey) with ordinality k(attnum, place)
      join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum order by k.place
    ) as columns,
    array(
      select a.attname::text from unnest(f.confkey) with ordinality k(attnum, place)
      join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.attnum order by k.place
    ) as target_columns
  from pg_constraint f
  join pg_class t on t.oid = f.confrelid join pg_namespace n on n.oid = t.relnamespace
  where f.contype = 'f' and f.conrelid = any($1::oid[])
  order by f.conrelid, f.conname`;

const typeSql = /* sql */ `
  select t.oid::text as oid, n.nspname as schema, t.typname as name, t.typtype as kind,
    t.typcategory as category, coalesce(e.oid, 0)::text as element, t.typbasetype::text as base,
    t.typtypmod as base_modifier,
    array(
      select l.enumlabel::text from pg_enum l where l.enumtypid = t.oid order by l.enumsortorder
    ) as labels
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  left join pg_type e on e.typarray = t.oid
  where $1::oid[] is null or t.oid = any($1::oid[])`;

function groupByTable<Row extends OfTable>(rows: readonly Row[]): Map<string, Row[]> {
  return Map.groupBy(rows, (row) => row.table_oid);
}

function toColumn(row: ColumnRow): CatalogColumn {
  return {
    name: row.name,
    attnum: row.attnum,
    typeOid: Number(row.type_oid),
    typeModifier: row.type_modifier,
    pgType: row.pg_type,
    nullable: row.nullable,
    defaultExpression: row.default_expression,
    missingValue: row.missing_value,
    generated: row.generated,
    comment: row.comment,
  };
}

function toForeignKey(row: ForeignKeyRow): CatalogForeignKey {
  return {
    columns: row.columns,
    targetSchema: row.target_schema,
    targetTable: row.target_table,
    targetColumns: row.target_columns,
    onDelete: deleteActions[row.on_delete] ?? 'no action',
  };
}
