import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findDifferences } from './differences.ts';
import { bucketOf, type CanonicalRow, Fingerprint } from './fingerprint.ts';

const cell = fc.option(fc.string({ maxLength: 4 }), { nil: null });
const keyedRow = fc
  .tuple(fc.integer({ min: 0, max: 5_000 }), cell, cell)
  .map(([id, left, right]): CanonicalRow => ({
    key: [String(id)],
    columns: [String(id), left, right],
  }));
const keyedTable = fc.uniqueArray(keyedRow, { selector: (row) => row.key[0], maxLength: 60 });

function fingerprintOf(rows: readonly CanonicalRow[]): Fingerprint {
  const fingerprint = new Fingerprint();
  for (const row of rows) fingerprint.add(row);
  return fingerprint;
}

test('equal tables have equal fingerprints whatever the order of their rows', () => {
  fc.assert(
    fc.property(keyedTable, (rows) => {
      const other = fingerprintOf(rows.toReversed());
      expect(fingerprintOf(rows).differingBuckets(other).size).toBe(0);
    }),
  );
});

test('every changed, missing or added row shows in its bucket and is named with its columns', () => {
  fc.assert(
    fc.property(keyedTable, keyedTable, (source, lake) => {
      const buckets = fingerprintOf(source).differingBuckets(fingerprintOf(lake));
      const within = (rows: readonly CanonicalRow[]) =>
        rows.filter((row) => buckets.has(bucketOf(row)));
      const found = findDifferences(within(source), within(lake), ['id', 'left', 'right']);
      expect(found.map(describe).toSorted()).toEqual(expected(source, lake).toSorted());
    }),
  );
});

test('a row that is there once too often is found in a table without a key', () => {
  const row: CanonicalRow = { key: [], columns: ['a', null] };
  expect(fingerprintOf([row]).differingBuckets(fingerprintOf([row, row])).size).toBe(1);
  expect(findDifferences([row], [row, row], ['x', 'y'])).toEqual([
    { kind: 'only-in-lake', key: ['a', null], count: 1 },
  ]);
});

test('NULL and the empty text, and values that run together, have different fingerprints', () => {
  const rows = [
    ['', 'ab'],
    [null, 'ab'],
    ['a', 'b'],
    ['ab', ''],
  ];
  const sums = rows.map((columns) => fingerprintOf([{ key: ['1'], columns }]));
  for (const [index, sum] of sums.entries()) {
    for (const other of sums.slice(index + 1)) expect(sum.differingBuckets(other).size).toBe(1);
  }
});

function describe(difference: ReturnType<typeof findDifferences>[number]): string {
  const columns =
    difference.kind === 'columns-differ' ? difference.columns.map(({ name }) => name) : [];
  return [difference.kind, ...difference.key, ...columns].join(' ');
}

/** What the comparison should find, computed row by row. */
function expected(source: readonly CanonicalRow[], lake: readonly CanonicalRow[]): string[] {
  const byKey = (rows: readonly CanonicalRow[]) => new Map(rows.map((row) => [row.key[0], row]));
  const [left, right] = [byKey(source), byKey(lake)];
  const found: string[] = [];
  for (const [key, row] of left) {
    const twin = right.get(key);
    const names = ['id', 'left', 'right'].filter(
      (_, index) => row.columns[index] !== twin?.columns[index],
    );
    if (twin === undefined) found.push(`missing-in-lake ${key}`);
    else if (names.length > 0) found.push(['columns-differ', key, ...names].join(' '));
  }
  for (const key of right.keys()) if (!left.has(key)) found.push(`only-in-lake ${key}`);
  return found;
}
