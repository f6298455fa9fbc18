import type { RowImage } from '../../schemas/change.ts';
import { canonicalText, canonicalValue } from '../../schemas/pg-text.ts';
import { type TableSchema, tableName } from '../../schemas/table-schema.ts';
import { type Difference, findDifferences } from './differences.ts';
import { bucketOf, type CanonicalRow, Fingerprint } from './fingerprint.ts';
import type { SourceSnapshot, SourceTable } from './source-snapshot.ts';

/** The lake's side: live rows as of the cut that the source's snapshot is tied to. */
export interface LakeRows {
  /** Values in the order of the table's columns. */
  rows(table: TableSchema): AsyncIterable<RowImage>;
}

export interface TableReport {
  readonly table: string;
  readonly hasKey: boolean;
  readonly sourceRows: number;
  readonly lakeRows: number;
  /** Empty = equal, value for value. */
  readonly differences: readonly Difference[];
}

export interface CompareOptions {
  readonly source: SourceSnapshot;
  readonly lake: LakeRows;
  readonly onTable?: (done: number, of: number, report: TableReport) => void;
}

/**
 * Compares every table row for row and value for value: first by fingerprints, then, where those
 * differ, the rows of the differing buckets. Both sides are read at most twice; memory holds one
 * fingerprint, or the rows of the differing buckets.
 */
export async function compareTables(options: CompareOptions): Promise<TableReport[]> {
  const reports: TableReport[] = [];
  const { tables } = options.source;
  for (const source of tables) {
    const report = await compareTable(source, options);
    reports.push(report);
    options.onTable?.(reports.length, tables.length, report);
  }
  return reports;
}

async function compareTable(source: SourceTable, options: CompareOptions): Promise<TableReport> {
  const { table } = source;
  const left = await fingerprintOf(sourceRows(source, options));
  const right = await fingerprintOf(lakeRows(table, options));
  const buckets = left.differingBuckets(right);
  const differences =
    buckets.size === 0
      ? []
      : findDifferences(
          await rowsWithin(buckets, sourceRows(source, options)),
          await rowsWithin(buckets, lakeRows(table, options)),
          table.columns.map((column) => column.name),
        );
  return {
    table: tableName(table),
    hasKey: table.key.length > 0,
    sourceRows: left.rows,
    lakeRows: right.rows,
    differences,
  };
}

async function* sourceRows(
  source: SourceTable,
  { source: snapshot }: CompareOptions,
): AsyncIterable<CanonicalRow> {
  const keyIndexes = keyIndexesOf(source.table);
  const types = source.table.columns.map((column) => column.type);
  for await (const row of snapshot.rows(source)) {
    yield canonicalRow(
      types.map((type, index) => canonicalText(type, row[index] ?? null)),
      keyIndexes,
    );
  }
}

async function* lakeRows(
  table: TableSchema,
  { lake }: CompareOptions,
): AsyncIterable<CanonicalRow> {
  const keyIndexes = keyIndexesOf(table);
  const types = table.columns.map((column) => column.type);
  for await (const row of lake.rows(table)) {
    yield canonicalRow(
      types.map((type, index) => canonicalValue(type, row[index] ?? null)),
      keyIndexes,
    );
  }
}

const keyIndexesOf = (table: TableSchema) =>
  table.key.map((name) => table.columns.findIndex((column) => column.name === name));

function canonicalRow(
  columns: readonly (string | null)[],
  keyIndexes: readonly number[],
): CanonicalRow {
  return { columns, key: keyIndexes.map((index) => columns[index] ?? null) };
}

async function fingerprintOf(rows: AsyncIterable<CanonicalRow>): Promise<Fingerprint> {
  const fingerprint = new Fingerprint();
  for await (const row of rows) fingerprint.add(row);
  return fingerprint;
}

async function rowsWithin(
  buckets: ReadonlySet<number>,
  rows: AsyncIterable<CanonicalRow>,
): Promise<CanonicalRow[]> {
  const within: CanonicalRow[] = [];
  for await (const row of rows) if (buckets.has(bucketOf(row))) within.push(row);
  return within;
}
