import avro from 'avsc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelineError } from '../runtime/errors.ts';
import { avroFieldNames } from './avro-names.ts';
import { valueSchema } from './avro.ts';
import { compileDecoder, frameSchemaId } from './avro-decoder.ts';
import type { RowImage, Value } from './change.ts';
import { timestampText } from './pg-text.ts';
import type { ColumnSchema, LogicalType, TableSchema } from './table-schema.ts';

const long = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: (value: number) => BigInt(value),
  toJSON: String,
  isValid: (value: unknown) => typeof value === 'bigint' || Number.isSafeInteger(value),
  compare: (one: bigint, other: bigint) => (one < other ? -1 : one > other ? 1 : 0),
});

/** The oracle: avsc, with every long a BigInt, annotated or not. */
function oracle(schema: unknown): avro.Type {
  return avro.Type.forSchema(
    schema as avro.Schema,
    {
      wrapUnions: false,
      typeHook: (inner: unknown) => {
        const type =
          typeof inner === 'object' && inner !== null ? Reflect.get(inner, 'type') : inner;
        return type === 'long' ? (long as unknown as avro.Type) : undefined;
      },
    } as Partial<avro.ForSchemaOptions>,
  );
}

interface Kind {
  readonly type: LogicalType;
  readonly values: fc.Arbitrary<Value>;
}

const micros = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n });
const decimals = fc
  .record({ precision: fc.integer({ min: 1, max: 60 }), scale: fc.integer({ min: 0, max: 12 }) })
  .map(({ precision, scale }): Kind => {
    const max = 10n ** BigInt(precision) - 1n;
    return {
      type: { kind: 'numeric', precision: Math.max(precision, scale), scale },
      values: fc.bigInt({ min: -max, max }),
    };
  });
const kind = (type: LogicalType, values: fc.Arbitrary<Value>): fc.Arbitrary<Kind> =>
  fc.constant({ type, values });
const scalars = fc.oneof(
  kind({ kind: 'bool' }, fc.boolean()),
  kind({ kind: 'int2' }, fc.integer({ min: -32_768, max: 32_767 })),
  kind({ kind: 'int4' }, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
  kind({ kind: 'int8' }, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  kind({ kind: 'oid' }, fc.bigInt({ min: 0n, max: 2n ** 32n - 1n })),
  kind({ kind: 'float4' }, fc.float()),
  kind({ kind: 'float8' }, fc.double()),
  decimals,
  kind(
    { kind: 'numeric-free' },
    fc.tuple(fc.bigInt(), fc.nat(30)).map(([value, scale]) => plainDecimal(value, scale)),
  ),
  kind({ kind: 'text' }, fc.string({ unit: 'grapheme', maxLength: 40 })),
  kind({ kind: 'uuid' }, fc.uuid()),
  kind({ kind: 'date' }, fc.integer({ min: -2_000_000, max: 200_000_000 })),
  kind({ kind: 'time', precision: 6 }, fc.bigInt({ min: 0n, max: 86_399_999_999n })),
  kind(
    { kind: 'time', precision: 3 },
    fc.nat(86_399_999).map((value) => BigInt(value) * 1000n),
  ),
  kind({ kind: 'timestamp', precision: 6 }, micros),
  kind(
    { kind: 'timestamp', precision: 0 },
    micros.map((value) => (value / 1_000_000n) * 1_000_000n),
  ),
  kind({ kind: 'timestamptz', precision: 6 }, micros),
  kind({ kind: 'jsonb' }, fc.json()),
  kind(
    { kind: 'bytea' },
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  ),
  kind({ kind: 'enum', labels: ['sad', 'ok'] }, fc.constantFrom('sad', 'ok')),
  kind({ kind: 'named-text', connectName: 'io.debezium.data.Tsvector' }, fc.string()),
  kind({ kind: 'inet' }, fc.ipV4()),
  kind({ kind: 'other' }, fc.string()),
);
const arrays = scalars.map(({ type, values }): Kind => {
  const items = type.kind === 'enum' ? values : fc.option(values);
  return { type: { kind: 'array', element: type }, values: fc.array(items, { maxLength: 5 }) };
});
const kinds = fc.oneof({ weight: 5, arbitrary: scalars }, { weight: 1, arbitrary: arrays });

function plainDecimal(value: bigint, scale: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale);
  const text = scale === 0 ? whole : `${whole}.${digits.slice(-scale)}`;
  return value < 0n ? `-${text}` : text;
}

/** A table with these columns, the first the key, and a generator of its rows. */
const tables = fc
  .record({
    kinds: fc.array(fc.tuple(kinds, fc.boolean()), { minLength: 1, maxLength: 12 }),
    full: fc.boolean(),
  })
  .map(({ kinds: chosen, full }) => {
    const columns = chosen.map(([{ type }, nullable], index): ColumnSchema => {
      return { name: `${index} col`, type, pgType: type.kind, nullable: nullable && index > 0 };
    });
    const table: TableSchema = {
      oid: 1,
      schema: 'public',
      name: 'random',
      columns,
      key: ['0 col'],
      replicaIdentity: full ? 'full' : 'default',
    };
    const row = fc.tuple(
      ...chosen.map(([{ values }], index) =>
        columns[index]?.nullable === true ? fc.option(values) : values,
      ),
    );
    return { table, row };
  });

function toAvro(type: LogicalType, value: Value): unknown {
  if (value === null) return null;
  switch (type.kind) {
    case 'numeric':
      return unscaledBytes(BigInt(value as bigint));
    case 'numeric-free': {
      const [whole = '', fraction = ''] = String(value as string).split('.');
      return { scale: fraction.length, value: unscaledBytes(BigInt(whole + fraction)) };
    }
    case 'time':
      return type.precision <= 3 ? Number((value as bigint) / 1000n) : value;
    case 'timestamp':
      return type.precision <= 3 ? (value as bigint) / 1000n : value;
    case 'timestamptz':
      return `${timestampText(value as bigint, '').replace(' ', 'T')}Z`;
    case 'array':
      return (value as readonly Value[]).map((item) => toAvro(type.element, item));
    default:
      return value;
  }
}

function unscaledBytes(value: bigint): Buffer {
  let length = 1;
  while (BigInt.asIntN(8 * length, value) !== value) length += 1;
  const hex = BigInt.asUintN(8 * length, value).toString(16);
  return Buffer.from(hex.padStart(2 * length, '0'), 'hex');
}

function envelope(table: TableSchema, parts: Partial<Record<string, unknown>>): object {
  const names = avroFieldNames(table);
  const row = (image: RowImage | null) =>
    image === null
      ? null
      : Object.fromEntries(
          table.columns.map((c, at) => [names[at] ?? '', toAvro(c.type, image[at] ?? null)]),
        );
  return {
    source: {
      version: '1',
      connector: 'postgresql',
      name: 'app',
      ts_ms: 1n,
      snapshot: 'false',
      db: 'db',
      sequence: '["1","2"]',
      ts_us: 1_700_000_000_000_001n,
      ts_ns: 1_700_000_000_000_001_000n,
      schema: 'public',
      table: 'random',
      txId: 4_294_967_295n,
      lsn: 2n ** 63n - 1n,
      xmin: null,
      origin: null,
      origin_lsn: null,
    },
    transaction: { id: '1:2', total_order: 1n, data_collection_order: 1n },
    op: 'u',
    ts_ms: 5n,
    ts_us: 5_000n,
    ts_ns: 5_000_000n,
    ...parts,
    before: row((parts['before'] ?? null) as RowImage | null),
    after: row((parts['after'] ?? null) as RowImage | null),
  };
}

const framed = (type: avro.Type, value: object): Buffer =>
  Buffer.concat([Buffer.from([0, 0, 0, 0, 9]), type.toBuffer(value)]);

function outcome(act: () => unknown): unknown {
  try {
    act();
    return 'fine';
  } catch (error) {
    return error instanceof PipelineError && error.kind === 'value-invalid' ? 'fine' : error;
  }
}

const plainBytes = (row: RowImage | null) =>
  row?.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value)) ?? null;

describe('compileDecoder', () => {
  it('reads what avsc wrote, for random tables and rows', () => {
    const cases = tables.chain(({ table, row }) =>
      fc.record({ table: fc.constant(table), after: row, before: fc.option(row) }),
    );
    fc.assert(
      fc.property(cases, ({ table, after, before }) => {
        const schema = valueSchema(table, 'app') as object;
        const bytes = framed(oracle(schema), envelope(table, { after, before }));
        const decoded = compileDecoder(JSON.parse(JSON.stringify(schema)), table)(bytes);
        const sent = table.replicaIdentity === 'full' ? () => true : (at: number) => at === 0;
        expect(plainBytes(decoded.after)).toEqual(after);
        expect(plainBytes(decoded.before)).toEqual(
          before?.map((value, at) => (sent(at) ? value : null)) ?? null,
        );
        expect(decoded).toMatchObject({
          op: 'u',
          lsn: 2n ** 63n - 1n,
          xid: 4_294_967_295n,
          committedAtUs: 1_700_000_000_000_001n,
          capturedAtUs: 5000n,
        });
        expect(frameSchemaId(bytes)).toBe(9);
      }),
      { numRuns: 400 },
    );
  });

  const id: ColumnSchema = {
    name: 'id',
    type: { kind: 'int8' },
    pgType: 'bigint',
    nullable: false,
  };
  const note: ColumnSchema = {
    name: 'note',
    type: { kind: 'text' },
    pgType: 'text',
    nullable: true,
  };
  const plain: TableSchema = {
    oid: 1,
    schema: 'public',
    name: 'plain',
    columns: [id, note],
    key: ['id'],
    replicaIdentity: 'default',
  };

  it('refuses bytes cut short anywhere and bytes too many, with a typed error', () => {
    const schema = valueSchema(plain, 'app') as object;
    const bytes = framed(oracle(schema), envelope(plain, { after: [7n, 'text'] }));
    const decode = compileDecoder(schema, plain);
    for (let length = 5; length < bytes.length; length += 1) {
      expect(() => decode(bytes.subarray(0, length))).toThrow(
        expect.objectContaining({ kind: 'value-invalid' }),
      );
    }
    expect(() => decode(Buffer.concat([bytes, Buffer.from([0])]))).toThrow('1 bytes follow');
  });

  it('answers any bytes with an envelope or a typed error', () => {
    const decode = compileDecoder(valueSchema(plain, 'app') as object, plain);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(outcome(() => decode(Buffer.concat([Buffer.from([0, 0, 0, 0, 1]), bytes])))).toBe(
          'fine',
        );
      }),
      { numRuns: 2000 },
    );
  });

  it('skips fields that the table version does not know and leaves missing columns null', () => {
    const wider = { ...plain, columns: [id, { ...note, name: 'dropped' }, note] };
    const schema = valueSchema(wider, 'app') as object;
    const bytes = framed(oracle(schema), envelope(wider, { after: [7n, 'gone', 'kept'] }));
    const reader = { ...plain, columns: [id, { ...note, name: 'added' }, note] };
    expect(compileDecoder(schema, reader)(bytes).after).toEqual([7n, null, 'kept']);
  });

  it('says which column does not fit its schema', () => {
    const schema = valueSchema(plain, 'app') as object;
    const other = { ...plain, columns: [id, { ...note, type: { kind: 'bool' as const } }] };
    expect(() => compileDecoder(schema, other)).toThrow('column note of public.plain');
  });
});
