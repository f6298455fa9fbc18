import { runQuery } from '../support/local-bigquery/rest.ts';
import type { Target } from './copy-lake.ts';
import { readLakeRows } from './lake-history.ts';

/** A column of a model; the type as BigQuery calls it. */
interface Column {
  readonly name: string;
  readonly type: string;
}

/** How a value is written so that the same value is the same text on both engines. */
interface Form {
  readonly duckdb: (name: string) => string;
  readonly bigquery: (name: string) => string;
  readonly plain: (text: string) => string;
}

const asText: Form = {
  duckdb: (name) => `cast(${name} as varchar)`,
  bigquery: (name) => `cast(${name} as string)`,
  plain: (text) => text,
};
const forms: Readonly<Record<string, Form>> = {
  TIMESTAMP: {
    ...asText,
    duckdb: (name) => `cast(epoch_us(${name}) as varchar)`,
    bigquery: (name) => `cast(unix_micros(${name}) as string)`,
  },
  // Sums of doubles depend on the order of their rows in the last digits.
  FLOAT64: { ...asText, plain: (text) => Number(text).toPrecision(12) },
  NUMERIC: { ...asText, plain: (text) => text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '') },
};
/**
 * The scale of a number is its column's on DuckDB, and nobody's on BigQuery: 2.50 reads 2.5 in an image
 * there. The emulator writes nine digits.
 */
const image: Form = {
  ...asText,
  plain: (text) =>
    text.replaceAll(/"(-?\d+)\.(\d*?)0+"/g, (_, whole: string, rest: string) =>
      rest === '' ? `"${whole}"` : `"${whole}.${rest}"`,
    ),
};
const formOf = ({ name, type }: Column): Form =>
  name.endsWith('_image') ? image : (forms[type.replace(/\(.*/, '')] ?? asText);

export type Columns = ReadonlyMap<string, readonly Column[]>;

/** The columns of every relation of a dataset, in order. */
export async function readColumns({ server, dataset }: Target): Promise<Columns> {
  const rows = await runQuery(
    server,
    /* sql */ `select table_name, column_name, data_type
      from \`${dataset}\`.INFORMATION_SCHEMA.COLUMNS order by table_name, ordinal_position`,
  );
  const tables = Map.groupBy(rows, ([table]) => table!);
  return new Map(
    [...tables].map(([table, own]) => [
      table,
      own.map(([, name, type]) => ({ name: name!, type: type! })),
    ]),
  );
}

type Rows = readonly string[];

/** The rows of a table in BigQuery, each as one line of plain texts, in the order of the lines. */
export async function bigqueryRows(
  { server, dataset }: Target,
  table: string,
  columns: readonly Column[],
): Promise<Rows> {
  const list = columns.map((column) => formOf(column).bigquery(`\`${column.name}\``));
  const rows = await runQuery(server, `select ${list.join(', ')} from \`${dataset}\`.\`${table}\``);
  return lines(columns, rows);
}

/** The same of a table in DuckDB, its columns found by name. */
export async function duckdbRows(
  file: string,
  relation: string,
  columns: readonly Column[],
): Promise<Rows> {
  const list = columns.map(
    (column, at) => `${formOf(column).duckdb(`"${column.name}"`)} as "c${at}"`,
  );
  const rows = await readLakeRows(file, `select ${list.join(', ')} from ${relation}`);
  return lines(
    columns,
    rows.map((row) => columns.map((_, at) => row[`c${at}`] ?? null)),
  );
}

function lines(columns: readonly Column[], rows: readonly (readonly (string | null)[])[]): Rows {
  const plain = (row: readonly (string | null)[]) =>
    columns.map((column, at) => {
      const text = row[at] ?? null;
      return `${column.name}=${text === null ? 'null' : formOf(column).plain(text)}`;
    });
  return rows.map((row) => plain(row).join(' · ')).toSorted();
}

/** The first row that only one side has, beside the other's; null when both have the same rows. */
export function firstDifference(bigquery: Rows, duckdb: Rows): object | null {
  const at = bigquery.findIndex((row, index) => row !== duckdb[index]);
  const end = bigquery.length === duckdb.length ? -1 : bigquery.length;
  const found = at < 0 ? end : at;
  return found < 0 ? null : { bigquery: bigquery[found] ?? null, duckdb: duckdb[found] ?? null };
}
