import type { DuckDBConnection } from '@duckdb/node-api';
import { ServiceError } from '../service-error.ts';
import type { Field, FieldType } from '../table-schema.ts';
import { resultField } from './query-result.ts';
import { closingIndex, isSign, isWord, type Token } from './tokens.ts';

/**
 * Types that a value becomes by itself when it is written. A STRING does so only as a literal, which is not
 * told apart here. https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_rules
 */
const coercions: Readonly<Record<FieldType, readonly FieldType[]>> = {
  STRING: ['DATE', 'DATETIME', 'TIME', 'TIMESTAMP'],
  BYTES: [],
  INT64: ['NUMERIC', 'BIGNUMERIC', 'FLOAT64'],
  FLOAT64: [],
  NUMERIC: ['BIGNUMERIC', 'FLOAT64'],
  BIGNUMERIC: ['FLOAT64'],
  BOOL: [],
  TIMESTAMP: [],
  DATE: ['DATETIME'],
  TIME: [],
  DATETIME: [],
  JSON: [],
  STRUCT: [],
};

/** The parts of an INSERT: its columns, all of the table if undefined, and the query behind them. */
export interface Insertion {
  readonly columns: readonly string[] | undefined;
  readonly query: readonly Token[];
}

/** Undefined for one whose types cannot be asked for: it has DEFAULT among its values. */
export function readInsertion(tokens: readonly Token[]): Insertion | undefined {
  let at = isWord(tokens[1], 'INTO') ? 3 : 2;
  while (isSign(tokens[at], '.') || isSign(tokens[at], '-')) at += 2;
  if (tokens.slice(at).some((token) => isWord(token, 'DEFAULT'))) return undefined;
  if (!isSign(tokens[at], '(') || isWord(tokens[at + 1], 'SELECT', 'WITH'))
    return { columns: undefined, query: tokens.slice(at) };
  const end = closingIndex(tokens, at);
  const names = tokens.slice(at + 1, end).filter((token) => !isSign(token, ','));
  return { columns: names.map(({ text }) => text.toLowerCase()), query: tokens.slice(end + 1) };
}

function canWrite(source: Field, target: Field): boolean {
  const isArray = source.mode === 'REPEATED';
  if (isArray !== (target.mode === 'REPEATED')) return false;
  return source.type === target.type || coercions[source.type].includes(target.type);
}

/**
 * Throws `invalidQuery` if an INSERT writes a type into a column that BigQuery does not coerce to the
 * column's: DuckDB would, silently. `sql` is the INSERT's query for DuckDB.
 */
export async function checkInsertion(
  connection: DuckDBConnection,
  targets: readonly (Field | undefined)[],
  sql: string,
): Promise<void> {
  const read = await connection.runAndReadAll(`select * from (${sql}) limit 0`);
  for (const [index, type] of read.columnTypes().entries()) {
    const target = targets[index];
    const source = resultField(`column ${index + 1}`, type);
    if (target === undefined || canWrite(source, target)) continue;
    // NULL and [] without a type are an INT64's for DuckDB.
    if (source.type === 'INT64' && (await isEmpty(connection, sql, index))) continue;
    const [from, to] = [source, target].map((field) =>
      field.mode === 'REPEATED' ? `ARRAY<${field.type}>` : field.type,
    );
    throw new ServiceError(
      'invalidQuery',
      `Query column ${index + 1} has type ${from} which cannot be inserted into column ${target.name}, which has type ${to}`,
    );
  }
}

async function isEmpty(connection: DuckDBConnection, sql: string, index: number): Promise<boolean> {
  const before = Array.from({ length: index }, (_, other) => `skipped${other}, `).join('');
  const read = await connection.runAndReadAll(
    `select 1 from (${sql}) as given(${before}given_value) where nullif(given_value::varchar, '[]') is not null limit 1`,
  );
  return read.currentRowCount === 0;
}
