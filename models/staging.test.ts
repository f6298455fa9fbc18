import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { MappedTable, Mapping } from './mapping.ts';
import { columnFamily } from './staging/column-family.ts';
import type { LakeTable } from './staging/lake-table.ts';
import { templateValue } from './staging/sql-text.ts';
import { generateStaging } from './staging.ts';

const entity: MappedTable = {
  kind: 'entity',
  service: 'shop',
  entity: 'order',
  key: ['id'],
  master: { id: 'master_id', uuid: 'gone' },
  parent: null,
  actor: null,
  tenant: null,
  event: null,
  references: [],
  amount: null,
  createdAt: null,
  updatedAt: null,
  masked: [],
  denied: ['secret'],
};
const lakeTable = (schema: string, name: string): LakeTable => ({
  schema,
  name,
  stored: { schema, changes: `${name}__changes` },
  columns: ['id', 'master_id', 'secret', 'values'].map((column) => ({
    name: column,
    family: 'text',
    places: [{ name: column, family: 'text', missing: null }],
    hasExact: false,
  })),
  meta: { _cdc_seq: 'text' },
  floors: [],
});
const staging = (tables: Mapping['tables'], lake: readonly LakeTable[]) =>
  generateStaging({
    mapping: { version: 1, master: null, tables },
    tables: lake,
    watermarks: null,
  });
const textOf = (result: ReturnType<typeof staging>, name: string) =>
  result.files.find((file) => file.path.endsWith(`/${name}`))?.text ?? '';

describe('generated staging', () => {
  const result = staging({ 'public.orders': entity, 'public.missing': entity }, [
    lakeTable('public', 'orders'),
  ]);

  test('has three models a table, and tells which tables the lake does not hold', () => {
    const models = result.files.map((file) => file.path.split('/').at(-1));
    expect(models).toEqual(
      expect.arrayContaining([
        'base_cdc__orders.sql',
        'stg_shop__order.sql',
        'stg_shop__order_changes.sql',
      ]),
    );
    expect(result.missing).toEqual(['public.missing']);
  });

  test('never names a denied column', () => {
    expect(result.files.filter((file) => file.text.includes('secret'))).toEqual([]);
  });

  test('reads a column that the lake lacks as null', () => {
    expect(textOf(result, 'stg_shop__order_changes.sql')).toContain('master_uuid=none');
  });

  test('is YAML where it says so, and describes every model and column', () => {
    const models = result.files
      .filter((file) => file.path.endsWith('.yml'))
      .flatMap((file) => (parse(file.text) as { models?: Documented[] }).models ?? []);
    expect(models.length).toBe(3 + 7);
    for (const model of models) {
      expect(model.description).not.toBe('');
      expect(model.columns.every((column) => column.description !== '')).toBe(true);
    }
  });

  test('tells tables apart that would share a name', () => {
    const both = staging(
      { 'public.Orders': entity, 'public.orders': entity, 'shop.orders': entity },
      [lakeTable('public', 'Orders'), lakeTable('public', 'orders'), lakeTable('shop', 'orders')],
    );
    const paths = both.files.map((file) => file.path.toLowerCase());
    expect(new Set(paths).size).toBe(paths.length);
  });

  test('is the same for the same input', () => {
    const again = staging({ 'public.missing': entity, 'public.orders': entity }, [
      lakeTable('public', 'orders'),
    ]);
    expect(again).toEqual(result);
  });
});

interface Documented {
  readonly description: string;
  readonly columns: readonly { readonly description: string }[];
}

test('template values keep quotes and braces in names', () => {
  expect(templateValue(['a"b', "c'd", '{{ x }}', null, true])).toBe(
    `["a\\"b", "c'd", "{{ x }}", none, true]`,
  );
});

test.each([
  ['BIGINT', 'duckdb', 'integer'],
  ['DECIMAL(20,8)', 'duckdb', 'decimal'],
  ['DECIMAL(20,8)[]', 'duckdb', 'array'],
  ['TIMESTAMP WITH TIME ZONE', 'duckdb', 'timestamptz'],
  ['TIMESTAMP', 'duckdb', 'timestamp'],
  ['TIMESTAMP', 'bigquery', 'timestamptz'],
  ['DATETIME', 'bigquery', 'timestamp'],
  ['ARRAY<STRING>', 'bigquery', 'array'],
  ['BLOB', 'duckdb', 'bytes'],
  ["ENUM('a')", 'duckdb', 'text'],
] as const)('%s of %s is of the family %s', (typeName, engine, family) => {
  expect(columnFamily(typeName, engine)).toBe(family);
});
