import { columnFamily, type ColumnFamily, type Engine } from './staging/column-family.ts';
import { gatherColumns, type SchemaNote, type TypedColumn } from './staging/gather-columns.ts';
import type { LakeTable } from './staging/lake-table.ts';
import type { TemplateValue } from './staging/sql-text.ts';

/** The lake that models are built in, whatever its engine. */
export interface ModelsLake {
  readonly engine: Engine;
  /** Which tables the lake holds, of those that `sources` ("schema.table") name, and how they are typed. */
  read(sources: readonly string[]): Promise<Lake>;
  /** Rows of all tables of these schemas, which exist. */
  readRowCounts(schemas: readonly string[]): Promise<RowCounts>;
  /** How dbt reaches it: the output of a profile whose models go to `schema`. */
  profile(schema: string): Readonly<Record<string, TemplateValue>>;
  /** What dbt's environment has beside ours, so that it reaches it. */
  readonly env: Readonly<Record<string, string>>;
  /** What is configured for all jobs and tables, as variables of the project. */
  readonly vars: Readonly<Record<string, TemplateValue>>;
}

export interface Lake {
  readonly tables: readonly LakeTable[];
  /** The lake's watermark table; null when it has none. */
  readonly watermarks: LakeWatermarks | null;
}

export interface LakeWatermarks {
  /** The schema that it is in. */
  readonly schema: string;
  readonly columns: Readonly<Record<string, ColumnFamily>>;
  /** Cuts above it are not those of the whole lake; left out where none are. */
  readonly cut?: string;
}

/** Rows of the tables that models were built into, by "schema.table". */
export type RowCounts = ReadonlyMap<string, number>;

/** Runs SQL; gives the values as text, null as "null". */
export type Query = (sql: string) => Promise<readonly (readonly string[])[]>;

export const changesSuffix = '__changes';
const metaPrefix = '_cdc_';

/** A `T__changes` as the lake's catalog describes it. */
export interface ChangesTable {
  /** The source's names. */
  readonly schema: string;
  readonly name: string;
  readonly stored: LakeTable['stored'];
  readonly columns: readonly TypedColumn[];
}

/** What the lake says of its tables beside their columns. */
export interface LakeNotes {
  /** Of all tables, oldest first. */
  readonly history: readonly SchemaNote[];
  /** The columns of each table of which some row has an exact text, by `tableKey`. */
  readonly exacts: ReadonlyMap<string, ReadonlySet<string>>;
  /** The position that every table is complete up to, where some show more. */
  readonly cut?: string;
}

/** Names as the lake tells them apart: without regard to case. */
export const tableKey = (schema = '', table = '') => JSON.stringify([schema, table]).toLowerCase();

/** Whether some row of it may have exact texts. */
export const hasExacts = ({ columns }: ChangesTable): boolean =>
  columns.some(({ name }) => name === '_cdc_exact');

export function typedColumn(name: string, type: string, engine: Engine): TypedColumn {
  return { name, type, family: columnFamily(type, engine) };
}

/** The columns that have exact texts, from rows of schema, table and column. */
export function exactsOf(rows: readonly (readonly string[])[]): LakeNotes['exacts'] {
  const byTable = Map.groupBy(rows, ([schema, table]) => tableKey(schema, table));
  return new Map(
    [...byTable].map(([key, own]) => [key, new Set(own.map(([, , column = '']) => column))]),
  );
}

/** A row of `_tributary_schema_history`: schema, table, layout as JSON text, moment of the note. */
export function schemaNote([
  schema = '',
  table = '',
  layout = '{}',
  notedAt = '',
]: readonly string[]): SchemaNote {
  const noted = JSON.parse(layout) as Partial<SchemaNote>;
  const { from = '', live = [], columns = [], floor = null } = noted;
  return { schema, table, from, live, columns, floor, notedAt };
}

/** Brings together what the lake's catalog and its own notes say of a table. */
export function lakeTable(changes: ChangesTable, notes: LakeNotes): LakeTable {
  const { schema, name, stored, columns } = changes;
  const key = tableKey(schema, name);
  const history = notes.history.filter((entry) => tableKey(entry.schema, entry.table) === key);
  const own = columns.filter((column) => !column.name.startsWith(metaPrefix));
  return {
    schema,
    name,
    stored,
    columns: gatherColumns(own, history, notes.exacts.get(key) ?? new Set()),
    meta: familiesOf(columns.filter((column) => column.name.startsWith(metaPrefix))),
    floors: history.flatMap(({ floor, notedAt }) =>
      floor === null ? [] : [{ seq: floor, notedAt }],
    ),
    ...(notes.cut === undefined ? {} : { cut: notes.cut }),
  };
}

export function familiesOf(
  columns: readonly TypedColumn[],
): Readonly<Record<string, ColumnFamily>> {
  return Object.fromEntries(columns.map(({ name, family }) => [name, family]));
}
