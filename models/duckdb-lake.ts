import { existsSync } from 'node:fs';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { PipelineError } from '../runtime/errors.ts';
import {
  type ChangesTable,
  changesSuffix,
  exactsOf,
  familiesOf,
  hasExacts,
  type Lake,
  type LakeNotes,
  lakeTable,
  type ModelsLake,
  type Query,
  schemaNote,
  tableKey,
  typedColumn,
} from './lake.ts';

const threads = 2;

/**
 * A DuckDB lake. The file must be lent: it is opened read-only and closed again, by us and then by dbt.
 * Throws `sink-locked` when another process holds it.
 */
export function duckdbLake(file: string): ModelsLake {
  return {
    engine: 'duckdb',
    read: () => withLakeFile(file, readLake),
    async readRowCounts(schemas) {
      const rows = await withLakeFile(file, (query) =>
        query(/* sql */ `
          select schema_name, table_name, estimated_size
          from duckdb_tables()
          where database_name = current_database()
            and list_contains([${schemas.map(quoteText).join(', ')}], schema_name)`),
      );
      return new Map(rows.map(([schema, table, count]) => [`${schema}.${table}`, Number(count)]));
    },
    profile: (schema) => ({
      type: 'duckdb',
      path: path.resolve(file),
      schema,
      threads,
      // The sink's row groups are smaller than DuckDB's own: dbt would merge them all, and the sink tidies up anyway.
      config_options: { max_vacuum_tasks: 0 },
    }),
    env: {},
    vars: {},
  };
}

/** DuckDB keeps the source's schemas, so a table's own names say which one it is. */
async function readLake(query: Query): Promise<Lake> {
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
  const notes: LakeNotes = {
    exacts: await readExacts(query, changes),
    history: find('_tributary_schema_history') === undefined ? [] : await readHistory(query),
  };
  const watermarks = find('_tributary_watermarks');
  return {
    tables: changes.map((table) => lakeTable(table, notes)),
    watermarks:
      watermarks === undefined
        ? null
        : { schema: 'tributary', columns: familiesOf(watermarks.map(columnOf)) },
  };
}

function changesTable(rows: readonly (readonly string[])[]): readonly ChangesTable[] {
  const [schema = '', table = ''] = rows[0] ?? [];
  const columns = rows.map(columnOf);
  if (!table.endsWith(changesSuffix) || !columns.some(({ name }) => name === '_cdc_seq')) return [];
  const name = table.slice(0, -changesSuffix.length);
  return [{ schema, name, stored: { schema, changes: table }, columns }];
}

const columnOf = ([, , name = '', type = '']: readonly string[]) =>
  typedColumn(name, type, 'duckdb');

async function readExacts(
  query: Query,
  tables: readonly ChangesTable[],
): Promise<LakeNotes['exacts']> {
  const selects = tables.filter(hasExacts).map(({ schema, name, stored }) => {
    const relation = `${quoteName(stored.schema)}.${quoteName(stored.changes)}`;
    return /* sql */ `select distinct ${quoteText(schema)}, ${quoteText(name)}, unnest(json_keys(_cdc_exact))
      from ${relation} where _cdc_exact is not null`;
  });
  return exactsOf(selects.length === 0 ? [] : await query(selects.join('\nunion all\n')));
}

/** What the lake noted of its tables' shapes, oldest first. */
async function readHistory(query: Query): Promise<LakeNotes['history']> {
  const rows = await query(/* sql */ `
    select schema_name, table_name, layout::varchar, strftime(recorded_at, '%Y-%m-%d %H:%M:%S.%f')
    from tributary._tributary_schema_history order by from_seq`);
  return rows.map(schemaNote);
}

const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

async function withLakeFile<T>(file: string, work: (query: Query) => Promise<T>): Promise<T> {
  if (!existsSync(file)) {
    throw new PipelineError('sink-failed', `the lake ${file} does not exist yet`, {
      hint: 'start `tributary run`, or the sink alone: it makes the lake and loads it',
    });
  }
  const instance = await DuckDBInstance.create(file, { access_mode: 'READ_ONLY' }).catch(
    (cause: unknown) => {
      throw openError(file, cause);
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

function openError(file: string, cause: unknown): PipelineError {
  const locked = String(cause).includes('lock');
  const kind = locked ? 'sink-locked' : 'sink-failed';
  return new PipelineError(kind, `cannot open the lake ${file} for reading`, { cause });
}
