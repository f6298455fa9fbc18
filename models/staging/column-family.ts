/** What the models need to know of a column's type: how to turn it into text or a moment. */
export type ColumnFamily =
  | 'text'
  | 'integer'
  | 'decimal'
  | 'float'
  | 'boolean'
  | 'timestamptz'
  | 'timestamp'
  | 'date'
  | 'time'
  | 'json'
  | 'uuid'
  | 'array'
  | 'bytes';

const families: readonly (readonly [RegExp, ColumnFamily])[] = [
  [/\[\d*\]$|^array</, 'array'],
  [/^(timestamp with time zone|timestamptz)/, 'timestamptz'],
  [/^(timestamp|datetime)/, 'timestamp'],
  [/^date$/, 'date'],
  [/^time/, 'time'],
  [
    /^(tinyint|smallint|integer|bigint|hugeint|utinyint|usmallint|uinteger|ubigint|uhugeint|int64)$/,
    'integer',
  ],
  [/^(decimal|numeric|bignumeric)/, 'decimal'],
  [/^(float|double|real|float64)/, 'float'],
  [/^bool/, 'boolean'],
  [/^json$/, 'json'],
  [/^uuid$/, 'uuid'],
  [/^(blob|bytes|bytea)/, 'bytes'],
];

/**
 * The family of a column type as the lake's `information_schema` spells it. DuckDB and BigQuery spell
 * differently, apart from one word: BigQuery's TIMESTAMP has a zone. What is not known reads as text.
 */
export function columnFamily(typeName: string, engine: Engine): ColumnFamily {
  const spelled = typeName.trim().toLowerCase();
  if (engine === 'bigquery' && spelled === 'timestamp') return 'timestamptz';
  return families.find(([pattern]) => pattern.test(spelled))?.[1] ?? 'text';
}

/** Types of a fixed width, which PostgreSQL never stores out of line, so an update always sends them. */
const fixedWidth: ReadonlySet<ColumnFamily> = new Set([
  'integer',
  'float',
  'boolean',
  'timestamptz',
  'timestamp',
  'date',
  'time',
  'uuid',
]);

/** Whether an update may leave this column out because its stored value did not change. */
export function canBeLeftOut(family: ColumnFamily): boolean {
  return !fixedWidth.has(family);
}

/** The engine whose names and types the generated files are for. */
export type Engine = 'duckdb' | 'bigquery';
