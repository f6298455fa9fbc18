import { type CanonicalRow, rowText } from './fingerprint.ts';

export type Difference =
  | {
      readonly kind: 'missing-in-lake' | 'only-in-lake';
      readonly key: readonly (string | null)[];
      readonly count: number;
    }
  | {
      readonly kind: 'columns-differ';
      readonly key: readonly (string | null)[];
      readonly columns: readonly {
        readonly name: string;
        readonly source: string | null;
        readonly lake: string | null;
      }[];
    };

/**
 * Compares the rows of the differing buckets: which keys are missing, which are too many, and which
 * columns differ. Tables without a key are compared as multisets of whole rows.
 */
export function findDifferences(
  source: readonly CanonicalRow[],
  lake: readonly CanonicalRow[],
  columnNames: readonly string[],
): Difference[] {
  const keyed = [...source, ...lake].some((row) => row.key.length > 0);
  return keyed ? compareByKey(source, lake, columnNames) : compareAsMultisets(source, lake);
}

function compareByKey(
  source: readonly CanonicalRow[],
  lake: readonly CanonicalRow[],
  columnNames: readonly string[],
): Difference[] {
  const inLake = new Map(lake.map((row) => [rowText(row.key), row]));
  const differences: Difference[] = [];
  // Two live rows with one key in the lake: the map kept the last, the others are too many.
  if (inLake.size < lake.length) differences.push(...duplicates(lake));
  for (const row of source) {
    const text = rowText(row.key);
    const twin = inLake.get(text);
    inLake.delete(text);
    if (twin === undefined) {
      differences.push({ kind: 'missing-in-lake', key: row.key, count: 1 });
      continue;
    }
    const columns = columnNames
      .map((name, index) => ({
        name,
        source: row.columns[index] ?? null,
        lake: twin.columns[index] ?? null,
      }))
      .filter((column) => column.source !== column.lake);
    if (columns.length > 0) differences.push({ kind: 'columns-differ', key: row.key, columns });
  }
  for (const row of inLake.values())
    differences.push({ kind: 'only-in-lake', key: row.key, count: 1 });
  return differences;
}

function duplicates(rows: readonly CanonicalRow[]): Difference[] {
  return [...countRows(rows.map((row) => ({ ...row, columns: row.key }))).values()]
    .filter(({ count }) => count > 1)
    .map(({ row, count }) => ({ kind: 'only-in-lake', key: row.key, count: count - 1 }));
}

function compareAsMultisets(
  source: readonly CanonicalRow[],
  lake: readonly CanonicalRow[],
): Difference[] {
  const [inSource, inLake] = [countRows(source), countRows(lake)];
  const differences: Difference[] = [];
  for (const [text, { row, count }] of inSource) {
    const missing = count - (inLake.get(text)?.count ?? 0);
    if (missing > 0)
      differences.push({ kind: 'missing-in-lake', key: row.columns, count: missing });
  }
  for (const [text, { row, count }] of inLake) {
    const extra = count - (inSource.get(text)?.count ?? 0);
    if (extra > 0) differences.push({ kind: 'only-in-lake', key: row.columns, count: extra });
  }
  return differences;
}

function countRows(
  rows: readonly CanonicalRow[],
): Map<string, { row: CanonicalRow; count: number }> {
  const counts = new Map<string, { row: CanonicalRow; count: number }>();
  for (const row of rows) {
    const text = rowText(row.columns);
    counts.set(text, { row, count: (counts.get(text)?.count ?? 0) + 1 });
  }
  return counts;
}
