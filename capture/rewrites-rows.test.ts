import { expect, test } from 'vitest';

import type { ColumnSchema, LogicalType, TableSchema } from '../schemas/table-schema.ts';
import { rewritesRows } from './rewrites-rows.ts';

const table = (...columns: ColumnSchema[]): TableSchema => ({
  oid: 1,
  schema: 'public',
  name: 'item',
  columns,
  key: [],
  replicaIdentity: 'default',
});
const column = (type: LogicalType, more: Partial<ColumnSchema> = {}): ColumnSchema => ({
  name: 'c',
  type,
  pgType: '',
  nullable: true,
  ...more,
});
const numeric = (precision: number, scale: number): LogicalType => ({
  kind: 'numeric',
  precision,
  scale,
});

test.each([
  ['a wider integer keeps values', { kind: 'int4' }, { kind: 'int8' }, false],
  ['a narrower integer may not', { kind: 'int8' }, { kind: 'int4' }, true],
  ['more digits before the point keep values', numeric(10, 2), numeric(12, 2), false],
  ['another scale rounds', numeric(10, 2), numeric(10, 1), true],
  ['text that becomes json is written anew', { kind: 'text' }, { kind: 'jsonb' }, true],
  [
    'new labels of an enum change no row',
    { kind: 'enum', labels: ['a'] },
    { kind: 'enum', labels: ['a', 'b'] },
    false,
  ],
] as const)('%s', (...[, before, after, expected]) => {
  expect(rewritesRows(table(column(before)), table(column(after)))).toBe(expected);
});

test.each([
  ['no default leaves rows NULL', {}, false],
  ['a constant default is in the catalog', { defaultExpression: '5', missingValue: '5' }, false],
  ['a computed default differs from row to row', { defaultExpression: 'random()' }, true],
])('a new column: %s', (_claim, more, expected) => {
  expect(rewritesRows(table(), table(column({ kind: 'int4' }, more)))).toBe(expected);
});

const named = (name: string, attnum?: number): ColumnSchema =>
  column({ kind: 'text' }, { name, ...(attnum === undefined ? {} : { attnum }) });

test.each([
  ['a renamed column has its values under the old name', [named('a', 1)], [named('b', 1)], true],
  [
    'columns that swap names swap values',
    [named('a', 1), named('b', 2)],
    [named('b', 1), named('a', 2)],
    true,
  ],
  ['dropped and made again, it is another column', [named('a', 1)], [named('a', 2)], true],
  ['dropped while another is added, nothing moved', [named('a', 1)], [named('b', 2)], false],
  ['without numbers, what vanished may be what appeared', [named('a')], [named('b', 2)], true],
  ['a column that is added renames none', [named('a')], [named('a'), named('b')], false],
  [
    'a column that is dropped changes no other',
    [named('a', 1), named('b')],
    [named('b', 2)],
    false,
  ],
])('%s', (...[, before, after, expected]) => {
  expect(rewritesRows(table(...before), table(...after))).toBe(expected);
});
