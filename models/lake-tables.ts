import { DuckDBInstance } from '@duckdb/node-api';
import { PipelineError } from '../runtime/errors.ts';
import { columnFamily, type ColumnFamily } from './staging/column-family.ts';
import { gatherColumns, type SchemaNote, type TypedColumn } from './staging/gather-columns.ts';
import type { LakeTable } from './staging/lake-table.ts';

export interface Lake {
  readonly tables: readonly LakeTable[];
  /** Columns of the lake's watermark table; null when it has none. */
  readonly watermarks: Readonly<Record<string, ColumnFamily>> | null;
}

/** Rows of the tables that models were built into, by "schema.table". */
export type RowCounts = ReadonlyMap<string, number>;

const changesSuffix = '__changes';
const metaPrefix = '_cdc_';
const exactColumn = '_cdc_exact';

/**
 * Reads from a DuckDB lake which tables it holds and how their columns are typed. The file must be lent:
 * it is opened read-only and closed again. Throws `sink-locked` when another process holds it.
 */
export async function readLake(path: string): Promise<Lake> {
  return await withLakeFile(path, async (query) => {
    const rows = await query(/* sql */ `
      select table_schema, table_name, column_name, data_type
      from information_schema.columns
      where table_catalog = current_database()
        and (ends_with(table_name, '${changesSuffix}') or table_schema = 'tributary')
      order by table_schema, table_name, ordinal_position`);
    const held = [...Map.groupBy(rows, ([schema, table]) => tableKey(schema, table)).values()];
    const find = (table: string) =>
      held.find(([first]) => first?.[0] === 'tributary' && first[1] === table);
    const changes = held.flatMap(changesTable);
    const exacts = await readExacts(query, changes);
    const history = find('_tributary_schema_history') === undefined ? [] : await readHistory(query);
    const watermarks = find('_tributary_watermarks');
    return {
      tables: changes.map((table) => {
        const key = tableKey(table.schema, table.name);
        const own = history.filter((entry) => tableKey(entry.schema, entry.table) === key);
        return lakeTable(table, { history: own, exacts: exacts.get(key) ?? new Set() });
      }),
      watermarks: watermarks === undefined ? null : familiesOf(watermarks.map(typedColumn)),
    };
  });
}

type Query = (sql: string) => Promise<readonly (readonly string[])[]>;

/** Names as the lake tells them apart: without regard to case. */
const tableKey = (schema = '', table = '') => JSON.stringify([schema, table]).toLowerCase();

interface ChangesTable {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly TypedColumn[];
}

function changesTable(rows: readonly (readonly string[])[]): readonly ChangesTable[] {
  const [schema = '', table = ''] = rows[0] ?? [];
  const columns = rows.map(typedColumn);
  if (!table.endsWith(changesSuffix) || !columns.some(({ name }) => name === '_cdc_seq')) return [];
  return [{ schema, name: table.slice(0, -changesSuffix.length), columns }];
}

function typedColumn([, , name = '', type = '']: readonly string[]): TypedColumn {
  return { name, type, family: columnFamily(type, 'duckdb') };
}

/** The columns of each table of which some row has an exact text, by `tableKey`. */
async function readExacts(
  query: Query,
  tables: readonly ChangesTable[],
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const asking = tables.filter(({ columns }) => columns.some(({ name }) => name === exactColumn));
  if (asking.length === 0) return new Map();
  const selects = asking.map(({ schema, name }) => {
    const relation = `${quoteName(schema)}.${quoteName(`${name}${changesSuffix}`)}`;
    return /* sql */ `select distinct ${quoteText(schema)}, ${quoteText(name)}, unnest(json_keys(${exactColumn}))
      from ${relation} where ${exactColumn} is not null`;
  });
  const rows = await query(selects.join('\nunion all\n'));
  const byTable = Map.groupBy(rows, ([schema, table]) => tableKey(schema, table));
  return new Map(
    [...byTable].map(([key, own]) => [key, new Set(own.map(([, , column = '']) => column))]),
  );
}

/** What the lake noted of its tables' shapes, oldest first. */
async function readHistory(query: Query): Promise<readonly SchemaNote[]> {
  const rows = await query(/* sql */ `
    select schema_name, table_name, layout::varchar, strftime(recorded_at, '%Y-%m-%d %H:%M:%S.%f')
    from tributary._tributary_schema_history order by from_seq`);
  return rows.map(([schema = '', table = '', layout = '{}', notedAt = '']) => {
    const noted = JSON.parse(layout) as Partial<SchemaNote>;
    const { from = '', live = [], columns = [], floor = null } = noted;
    return { schema, table, from, live, columns, floor, notedAt };
  });
}

/** Row counts of all tables of the schemas whose name begins with `schemaPrefix`. */
export async function readRowCounts(path: string, schemaPrefix: string): Promise<RowCounts> {
  const rows = await withLakeFile(path, (query) =>
    query(/* sql */ `
      select schema_name, table_name, estimated_size
      from duckdb_tables()
      where database_name = current_database()
        and starts_with(schema_name, ${quoteText(schemaPrefix)})`),
  );
  return new Map(rows.map(([schema, table, count]) => [`${schema}.${table}`, Number(count)]));
}

interface TableNotes {
  readonly history: readonly SchemaNote[];
  readonly exacts: ReadonlySet<string>;
}

function lakeTable({ schema, name, columns }: ChangesTable, notes: TableNotes): LakeTable {
  const own = columns.filter((column) => !column.name.startsWith(metaPrefix));
  return {
    schema,
    name,
    columns: gatherColumns(own, notes.history, notes.exacts),
    meta: familiesOf(columns.filter((column) => column.name.startsWith(metaPrefix))),
    floors: notes.history.flatMap(({ floor, notedAt }) =>
      floor === null ? [] : [{ seq: floor, notedAt }],
    ),
  };
}

function familiesOf(columns: readonly TypedColumn[]): Readonly<Record<string, ColumnFamily>> {
  return Object.fromEntries(columns.map(({ name, family }) => [name, family]));
}

const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

async function withLakeFile<T>(path: string, work: (query: Query) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(path, { access_mode: 'READ_ONLY' }).catch(
    (cause: unknown) => {
      throw openError(path, cause);
    },
  );
  try {
    const connection = await instance.connect();
    try {
      return await work(async (sql) => {
        const reader = await connection.runAndReadAll(sql);
        return reader.getRows().map((row) => row.map(String));
      });
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}

function openError(path: string, cause: unknown): PipelineError {
  const locked = String(cause).includes('lock');
  const kind = locked ? 'sink-locked' : 'sink-failed';
  return new PipelineError(kind, `cannot open the lake ${path} for reading`, { cause });
}
