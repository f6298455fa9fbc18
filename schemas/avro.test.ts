import { describe, expect, it } from 'vitest';
import { goldenSchema, goldenTables } from '../test/support/debezium-golden.ts';
import { keySchema, schemaText, valueSchema } from './avro.ts';
import { avroTypeOf, type AvroSchema } from './type-mapping.ts';
import type { TableSchema } from './table-schema.ts';

const tables = goldenTables();
const versionsOf = (name: string): readonly TableSchema[] =>
  tables.filter((table) => table.name === name);
const firstOf = (name: string): TableSchema => versionsOf(name)[0]!;

interface RowField {
  readonly name: string;
}
const rowFields = (schema: AvroSchema): readonly RowField[] =>
  (schema as { fields: { type: [string, { fields: RowField[] }] }[] }).fields[0]!.type[1].fields;

/** Types whose Avro form Debezium has and we leave as PostgreSQL's text. */

describe('schemas of records', () => {
  const same = [
    'masters',
    'service_event',
    'types_zoo',
    'toast_zoo',
    'full_zoo',
    'nopk',
    'uniq_idx',
    'comp_pk',
  ];

  it.each(same)('the value schema of %s has the very text that Debezium registers', (name) => {
    expect(schemaText(valueSchema(firstOf(name), 'golden'))).toBe(
      goldenSchema(name, 'value').schemaText,
    );
  });

  it.each(same.filter((name) => name !== 'nopk'))('the key schema of %s too', (name) => {
    const schema = keySchema(firstOf(name), 'golden');
    expect(schemaText(schema ?? '')).toBe(goldenSchema(name, 'key').schemaText);
  });

  it('names that Avro refuses are adjusted like Debezium adjusts them', () => {
    const table = firstOf('Odd-Näme 1');
    const value = schemaText(valueSchema(table, 'golden'));
    expect(value).toBe(goldenSchema('Odd-N_me_1', 'value').schemaText);
    expect(schemaText(keySchema(table, 'golden') ?? '')).toBe(
      goldenSchema('Odd-N_me_1', 'key').schemaText,
    );
  });

  it('each change of a table makes the schema that Debezium makes of it, and a dropped column the former one', () => {
    const texts = versionsOf('masters').map((table) => schemaText(valueSchema(table, 'golden')));
    const golden = [1, 2, 3, 4, 1].map(
      (version) => goldenSchema('masters', 'value', version).schemaText,
    );
    expect([...new Set(texts)]).toEqual([...new Set(golden)]);
    expect(texts.at(-1)).toBe(golden[0]);
  });

  it('defaults stand in the schema as Debezium puts them, functions as a fixed value', () => {
    const schema = schemaText(valueSchema(firstOf('defaults_zoo'), 'golden'));
    expect(schema).toBe(goldenSchema('defaults_zoo', 'value', 2).schemaText);
  });

  it('a table without a key has no key schema', () => {
    expect(keySchema(firstOf('nopk'), 'golden')).toBeNull();
  });

  it('a named type is defined once and referred to afterwards', () => {
    const free = { type: { kind: 'numeric-free' }, pgType: 'numeric', nullable: false } as const;
    const table = {
      ...firstOf('nopk'),
      columns: [
        { ...free, name: 'a' },
        { ...free, name: 'b' },
      ],
    };
    const [first, second] = rowFields(valueSchema(table, 'p'));
    expect(first).toEqual({ name: 'a', type: avroTypeOf({ kind: 'numeric-free' }) });
    expect(second).toEqual({ name: 'b', type: 'io.debezium.data.VariableScaleDecimal' });
  });

  it('two columns that share a field name are refused', () => {
    const text = { type: { kind: 'text' }, pgType: 'text', nullable: true } as const;
    const table = {
      ...firstOf('nopk'),
      columns: [
        { ...text, name: 'a b' },
        { ...text, name: 'a.b' },
      ],
    };
    expect(() => valueSchema(table, 'p')).toThrow(
      'columns "a b" and "a.b" of public.nopk both map to Avro field a_b',
    );
  });
});
