import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keySchema, valueSchema } from '../../schemas/avro.ts';
import { avroTypeOf } from '../../schemas/type-mapping.ts';
import type { ColumnSchema, LogicalType, TableSchema } from '../../schemas/table-schema.ts';
import { oracleType } from '../../test/support/avro-oracle.ts';
import {
  arrayText,
  scalarValues,
  type PgValue,
  type TypedValues,
} from '../../test/support/pg-values.ts';
import { encodeTuple } from '../pgoutput/tuple.ts';
import { compileTranscoder } from './compile-transcoder.ts';
import type { ChangeFrame, Transcoder, TransactionFrame } from './transcoder.ts';

const keySchemaId = 7;
const valueSchemaId = 4_000_000;

/** The name by which avsc wraps a value of this type in a union. */
function branchName(type: LogicalType): string {
  if (type.kind === 'numeric-free') return 'io.debezium.data.VariableScaleDecimal';
  const schema = avroTypeOf(type);
  return typeof schema === 'string' ? schema : String(Reflect.get(schema, 'type'));
}

const inUnion = (type: LogicalType, value: unknown): unknown =>
  value === null ? null : { [branchName(type)]: value };

/** Arrays of a scalar type, with NULL elements where Avro has them. */
function arrayOf({ type, value }: TypedValues): TypedValues {
  const canBeNull = type.kind !== 'enum';
  const element = canBeNull ? fc.option(value, { nil: null, freq: 4 }) : value;
  const values = fc.array(element, { maxLength: 6 }).map((elements): PgValue => ({
    text: arrayText(elements.map((item) => item?.text ?? null)),
    avro: elements.map((item) => (canBeNull ? inUnion(type, item?.avro ?? null) : item?.avro)),
  }));
  return { type: { kind: 'array', element: type }, value: values };
}

const anyValues = fc.oneof({ weight: 3, arbitrary: scalarValues }, scalarValues.map(arrayOf));

/** Kinds whose schemas take a default, and one. */
const defaults: Partial<
  Record<LogicalType['kind'], readonly [pgType: string, expression: string]>
> = {
  int4: ['integer', '7'],
  text: ['text', "'x''y'::text"],
  timestamptz: ['timestamp with time zone', 'now()'],
  bool: ['boolean', 'true'],
};

interface RandomColumn {
  readonly column: ColumnSchema;
  readonly value: PgValue | null;
}

const randomColumn: fc.Arbitrary<RandomColumn> = fc
  .tuple(anyValues, fc.boolean(), fc.boolean())
  .chain(([{ type, value }, nullable, withDefault]) => {
    const [pgType, defaultExpression] = (withDefault ? defaults[type.kind] : undefined) ?? [''];
    const column: ColumnSchema = {
      name: '',
      type,
      pgType,
      nullable,
      ...(defaultExpression === undefined ? {} : { defaultExpression }),
    };
    const values = nullable ? fc.option(value, { nil: null, freq: 3 }) : value;
    return values.map((chosen) => ({ column, value: chosen }));
  });

const frameOf = (transaction: Partial<TransactionFrame> = {}): ChangeFrame => ({
  transaction: {
    xid: 1244,
    commitLsn: 0x39d8ca8n,
    committedAtUs: 1_795_458_106_051_273n,
    lastCommitLsn: 60_657_784n,
    snapshot: 'false',
    origin: null,
    ...transaction,
  },
  lsn: 60_658_024n,
  seqPrefix: '0001/00000000039D8CA8/',
  ordinal: 0x2a,
  capturedAtUs: 1_795_458_106_657_491n,
  block: null,
});

const long = (value: bigint): unknown => ({ long: value });

/** The envelope that `frameOf()` asks for, as avsc takes it. */
const envelope = (op: string, images: { before?: unknown; after?: unknown }): object => ({
  before: null,
  after: null,
  ...images,
  source: {
    version: '0.1.0',
    connector: 'tributary',
    name: 'app',
    ts_ms: 1_795_458_106_051n,
    snapshot: { string: 'false' },
    db: 'shop',
    sequence: { string: '["60657784","60658024"]' },
    ts_us: long(1_795_458_106_051_273n),
    ts_ns: long(1_795_458_106_051_273_000n),
    schema: 'public',
    table: 'thing',
    txId: long(1244n),
    lsn: long(60_658_024n),
    xmin: null,
    origin: null,
    origin_lsn: null,
  },
  transaction: null,
  op,
  ts_ms: long(1_795_458_106_657n),
  ts_us: long(1_795_458_106_657_491n),
  ts_ns: long(1_795_458_106_657_491_000n),
});

const tableOf = (columns: readonly ColumnSchema[], key: readonly string[] = []): TableSchema => ({
  oid: 1,
  schema: 'public',
  name: 'thing',
  columns: columns.map((column, index) => ({ ...column, name: column.name || `c${index}` })),
  key,
  replicaIdentity: 'default',
});

const compile = (table: TableSchema): Transcoder =>
  compileTranscoder({
    table,
    prefix: 'app',
    database: 'shop',
    keySchemaId: table.key.length === 0 ? null : keySchemaId,
    valueSchemaId,
    connector: 'tributary',
    version: '0.1.0',
  });

const tupleOf = (texts: readonly (string | null)[]) =>
  encodeTuple(texts.map((text) => (text === null ? null : Buffer.from(text))));

const framed = (id: number, body: Buffer): Buffer => {
  const frame = Buffer.alloc(5);
  frame.writeInt32BE(id, 1);
  return Buffer.concat([frame, body]);
};

const plain = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, content]) => [name, plain(content)]));
};

describe('records of any table', () => {
  it('are the bytes that avsc makes of the same values, and decode to them', () => {
    const property = fc.property(
      fc.array(randomColumn, { minLength: 1, maxLength: 12 }),
      (columns) => {
        const table = tableOf(columns.map(({ column }) => column));
        const row: Record<string, unknown> = {};
        for (const [index, { column, value }] of columns.entries()) {
          const avro = value?.avro ?? null;
          row[`c${index}`] = column.nullable ? inUnion(column.type, avro) : avro;
        }
        const type = oracleType(valueSchema(table, 'app'));
        const expected = envelope('c', { after: { 'app.public.thing.Value': row } });
        const [record] = compile(table).insert(
          frameOf(),
          tupleOf(columns.map(({ value }) => value?.text ?? null)),
        );
        expect(record?.headers).toEqual([
          ['tributary.seq', Buffer.from('0001/00000000039D8CA8/0000002A/0')],
        ]);
        expect(plain(type.fromBuffer(record!.value!.subarray(5)))).toEqual(plain(expected));
        expect(record?.value?.toString('hex')).toBe(
          framed(valueSchemaId, type.toBuffer(expected)).toString('hex'),
        );
      },
    );
    fc.assert(property, { numRuns: 200 });
  });

  it('have keys that are the bytes of avsc, in key order', () => {
    const property = fc.property(
      fc.array(randomColumn, { minLength: 1, maxLength: 4 }),
      (columns) => {
        const chosen = columns.filter(({ value }) => value !== null);
        if (chosen.length === 0) return;
        const schemas = chosen.map(({ column }) => ({ ...column, nullable: false }));
        const key = schemas.map((_, index) => `c${index}`).reverse();
        const table = tableOf(schemas, key);
        const row = Object.fromEntries(
          chosen.map(({ value }, index) => [`c${index}`, value?.avro]),
        );
        const [record] = compile(table).insert(
          frameOf(),
          tupleOf(chosen.map(({ value }) => value!.text)),
        );
        const expected = framed(keySchemaId, oracleType(keySchema(table, 'app')!).toBuffer(row));
        expect(record?.key?.toString('hex')).toBe(expected.toString('hex'));
      },
    );
    fc.assert(property, { numRuns: 100 });
  });

  it('are right whatever their size: rows larger than a block, and a thousand one after another', () => {
    const table = tableOf([
      { name: 'id', type: { kind: 'int4' }, pgType: 'integer', nullable: false },
      { name: 'body', type: { kind: 'text' }, pgType: 'text', nullable: false },
      {
        name: 'tags',
        type: { kind: 'array', element: { kind: 'int8' } },
        pgType: 'bigint[]',
        nullable: false,
      },
    ]);
    const transcoder = compile(table);
    const type = oracleType(valueSchema(table, 'app'));
    const sizes = [
      ...Array.from({ length: 1000 }, (_, size) => size % 700),
      1_000_000,
      3,
      400_000,
      0,
    ];
    const kept = sizes.map((size, index) => {
      const text = 'ä'.repeat(size / 2);
      const tags = `{${Array.from({ length: size % 90 }, () => '-9223372036854775808').join(',')}}`;
      return transcoder.insert(frameOf(), tupleOf([String(index), text, tags]))[0]!;
    });
    for (const [index, record] of kept.entries()) {
      const row = (type.fromBuffer(record.value!.subarray(5)) as { after: object }).after;
      const [{ id, body, tags }] = Object.values(row) as [
        { id: number; body: string; tags: unknown[] },
      ];
      const size = sizes[index]!;
      expect([id, body.length, tags.length]).toEqual([index, Math.floor(size / 2), size % 90]);
    }
  });
});

const text = (name: string, nullable = true): ColumnSchema => ({
  name,
  type: { kind: 'text' },
  pgType: 'text',
  nullable,
});
const headersOf = (record: {
  headers: readonly (readonly [string, Buffer])[];
}): Record<string, string> =>
  Object.fromEntries(record.headers.map(([name, value]) => [name, value.toString()]));

const imageOf = (table: TableSchema, value: Buffer | null, image: 'before' | 'after'): unknown => {
  const decoded = oracleType(valueSchema(table, 'app')).fromBuffer(value!.subarray(5)) as Record<
    string,
    object
  >;
  if (decoded[image] === null) return null;
  const [row] = Object.values(decoded[image]!) as [
    Record<string, string | { string: string } | null>,
  ];
  const unwrapped = Object.entries(row).map(([name, value]) => {
    return [name, typeof value === 'object' && value !== null ? value.string : value];
  });
  return Object.fromEntries(unwrapped);
};

describe('changes', () => {
  const table = tableOf([text('id', false), text('body'), text('must', false)], ['id']);
  const old = tupleOf(['a', null, null]);

  it('a delete by key has the key, null, and zeros where null cannot stand, then a tombstone', () => {
    const [change, tombstone] = compile(table).delete(frameOf(), { kind: 'key', tuple: old });
    expect(imageOf(table, change!.value, 'before')).toEqual({ id: 'a', body: null, must: '' });
    expect(headersOf(change!)).toEqual({ 'tributary.seq': '0001/00000000039D8CA8/0000002A/0' });
    expect(tombstone).toMatchObject({
      key: change!.key,
      value: null,
      timestampMs: 1_795_458_106_657,
    });
    expect(headersOf(tombstone!)).toEqual({ 'tributary.seq': '0001/00000000039D8CA8/0000002A/1' });
  });

  it('an update that keeps its key is one record, even when the old key came with it', () => {
    const records = compile(table).update(
      frameOf(),
      { kind: 'key', tuple: old },
      tupleOf(['a', 'b', 'c']),
    );
    expect(records).toHaveLength(1);
    expect(imageOf(table, records[0]!.value, 'after')).toEqual({ id: 'a', body: 'b', must: 'c' });
  });

  it('the halves of a key change name each other, and the second counts as an event of its own', () => {
    const block = { id: '1244:60658024', totalOrder: 3n, collectionOrder: 2n };
    const frame = { ...frameOf(), block };
    const records = compile(table).update(
      frame,
      { kind: 'key', tuple: old },
      tupleOf(['"b"', 'b', 'c']),
    );
    expect(records.map((record) => headersOf(record))).toEqual([
      {
        'tributary.seq': '0001/00000000039D8CA8/0000002A/0',
        '__debezium.newkey': '{"id":"\\"b\\""}',
      },
      {
        'tributary.seq': '0001/00000000039D8CA8/0000002A/1',
        '__debezium.newkey': '{"id":"\\"b\\""}',
      },
      { 'tributary.seq': '0001/00000000039D8CA8/0000002A/2', '__debezium.oldkey': '{"id":"a"}' },
    ]);
    const type = oracleType(valueSchema(table, 'app'));
    const orders = [records[0]!, records[2]!].map((record) => {
      const { transaction } = type.fromBuffer(record.value!.subarray(5)) as Record<string, object>;
      return plain(Object.values(transaction!)[0]);
    });
    expect(orders).toEqual([
      { id: '1244:60658024', total_order: 3n, data_collection_order: 2n },
      { id: '1244:60658024', total_order: 4n, data_collection_order: 3n },
    ]);
  });

  it('a value that was not sent is filled from a full old row, else marked', () => {
    const after = encodeTuple([Buffer.from('a'), 'unchanged', Buffer.from('c')]);
    const full = { kind: 'full', tuple: tupleOf(['a', 'large', 'b']) } as const;
    const [filled] = compile({ ...table, replicaIdentity: 'full' }).update(frameOf(), full, after);
    expect(imageOf(table, filled!.value, 'after')).toEqual({ id: 'a', body: 'large', must: 'c' });
    expect(headersOf(filled!)['tributary.unchanged']).toBeUndefined();
    const [marked] = compile(table).update(frameOf(), null, after);
    expect(imageOf(table, marked!.value, 'after')).toMatchObject({
      body: '__debezium_unavailable_value',
    });
    expect(headersOf(marked!)['tributary.unchanged']).toBe('["body"]');
  });

  it('a key value that was not sent is taken from the old key', () => {
    const after = encodeTuple(['unchanged', Buffer.from('b'), Buffer.from('c')]);
    const [record] = compile(table).update(frameOf(), { kind: 'key', tuple: old }, after);
    expect(imageOf(table, record!.value, 'after')).toEqual({ id: 'a', body: 'b', must: 'c' });
    expect(headersOf(record!)['tributary.unchanged']).toBeUndefined();
  });

  it('a NULL from before a column became NOT NULL stays known as NULL', () => {
    const [record] = compile(table).insert(frameOf(), tupleOf(['a', 'b', null]));
    expect(imageOf(table, record!.value, 'after')).toEqual({ id: 'a', body: 'b', must: '' });
    expect(headersOf(record!)['tributary.exact']).toBe('{"must":null}');
  });

  it('a table without a key has null keys, on tombstones too, and never splits an update', () => {
    const keyless = tableOf([text('a')]);
    const transcoder = compile({ ...keyless, replicaIdentity: 'full' });
    const before = { kind: 'full', tuple: tupleOf(['x']) } as const;
    const deleted = transcoder.delete(frameOf(), before);
    const updated = transcoder.update(frameOf(), before, tupleOf(['y']));
    expect(deleted.map(({ key, value }) => [key, value === null])).toEqual([
      [null, false],
      [null, true],
    ]);
    expect(updated).toHaveLength(1);
  });

  it('a key that is the same number in other digits is another key to those who keep the digits', () => {
    const amount: ColumnSchema = {
      ...text('id', false),
      type: { kind: 'numeric-free' },
      pgType: 'numeric',
    };
    const before = { kind: 'key', tuple: tupleOf(['1.0']) } as const;
    const records = compile(tableOf([amount], ['id'])).update(frameOf(), before, tupleOf(['1.00']));
    expect(records.map((record) => headersOf(record)['tributary.exact'])).toEqual([
      '{"id":"1.0"}',
      undefined,
      '{"id":"1.00"}',
    ]);
    expect(records[0]?.key).toEqual(records[2]?.key);
  });

  it('a truncate has neither key nor rows', () => {
    const [record] = compile(table).truncate(frameOf());
    expect(record?.key).toBeNull();
    const decoded = oracleType(valueSchema(table, 'app')).fromBuffer(record!.value!.subarray(5));
    expect(decoded).toMatchObject({ before: null, after: null, op: 't' });
  });

  it('rows of a chunk are reads of an incremental snapshot', () => {
    const frame = frameOf({ snapshot: 'incremental', xid: null, lastCommitLsn: null });
    const [record] = compile(table).read(frame, tupleOf(['a', null, 'c']));
    const decoded = oracleType(valueSchema(table, 'app')).fromBuffer(record!.value!.subarray(5));
    expect(decoded).toMatchObject({
      op: 'r',
      source: {
        snapshot: { string: 'incremental' },
        txId: null,
        sequence: { string: '[null,"60658024"]' },
      },
    });
  });

  it('a change from another origin says so', () => {
    const frame = frameOf({ origin: { name: 'pg_1', lsn: 2n ** 60n } });
    const [record] = compile(table).insert(frame, tupleOf(['a', null, 'c']));
    const decoded = oracleType(valueSchema(table, 'app')).fromBuffer(record!.value!.subarray(5));
    expect(decoded).toMatchObject({
      source: { origin: { string: 'pg_1' }, origin_lsn: { long: 2n ** 60n } },
    });
  });

  it('a tuple of another width is refused', () => {
    expect(() => compile(table).insert(frameOf(), tupleOf(['a']))).toThrow(
      'a row of public.thing came with 1 columns, its table version has 3',
    );
  });
});
