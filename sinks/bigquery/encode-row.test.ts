import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { ExactText, type Change, type Value } from '../../schemas/change.ts';
import { formatPosition, positionZero } from '../../schemas/position.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { bigqueryTypeOf } from '../../schemas/type-mapping.ts';
import type { VersionLayout } from '../lake/layout.ts';
import { encodeValue, momentText } from './encode.ts';
import { RowEncoder, type RowDescriptor } from './encode-row.ts';
import { fieldTypes, ProtoWriter } from './proto-writer.ts';

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const text = fc.string({ unit: 'binary', maxLength: 200 }).map((some) => some.toWellFormed());
const nearUs = fc.bigInt({ min: -70_000_000_000_000_000n, max: 260_000_000_000_000_000n });
const exact = fc.constantFrom('infinity', 'NaN', '0044-03-15 BC').map((one) => new ExactText(one));

const typed: readonly (readonly [LogicalType, fc.Arbitrary<Exclude<Value, null>>])[] = [
  [{ kind: 'bool' }, fc.boolean()],
  [{ kind: 'int4' }, fc.integer()],
  [{ kind: 'int8' }, int64],
  [{ kind: 'oid' }, fc.bigInt({ min: 0n, max: 2n ** 32n - 1n })],
  [{ kind: 'float8' }, fc.double()],
  [{ kind: 'numeric', precision: 12, scale: 2 }, fc.oneof(int64, exact)],
  [{ kind: 'numeric', precision: 60, scale: 20 }, fc.oneof(int64, exact)],
  [{ kind: 'text' }, text],
  [{ kind: 'date' }, fc.oneof(fc.integer({ min: -800_000, max: 3_000_000 }), exact)],
  [{ kind: 'time', precision: 6 }, fc.bigInt({ min: 0n, max: 86_400_000_000n })],
  [{ kind: 'timestamp', precision: 6 }, fc.oneof(nearUs, int64, exact)],
  [{ kind: 'timestamptz', precision: 6 }, fc.oneof(nearUs, int64, exact)],
  [{ kind: 'bytea' }, fc.uint8Array({ maxLength: 200 })],
  [{ kind: 'jsonb' }, fc.json()],
  [{ kind: 'array', element: { kind: 'int8' } }, fc.array(fc.option(int64))],
];

/** More than a hundred columns, so that tags of one and of two bytes are met. */
const columns = Array.from({ length: 8 }, () => typed)
  .flat()
  .map(([type], index) => ({
    name: `c${index}`,
    physical: index === 3 ? 'größe in cm' : `c${index}`,
    type,
    lakeType: bigqueryTypeOf(type),
    isKey: false,
  }));

const layout: VersionLayout = {
  names: { schema: 'lake', changes: 't__changes', state: 't__state', view: 't' },
  columns,
  later: [],
  version: {
    topic: 'shop.public.t',
    valueSchemaId: 7,
    keySchemaId: null,
    from: positionZero,
    table: {
      oid: 1,
      schema: 'public',
      name: 't',
      columns: columns.map(({ name, type }) => ({ name, type, pgType: '', nullable: true })),
      key: [],
      replicaIdentity: 'default',
    },
  },
};

function changeOf(after: readonly Value[], unchanged: readonly number[] = []): Change {
  return {
    op: 'u',
    seq: formatPosition({ generation: 1, commitLsn: 300n, ordinal: 1, part: 0 }),
    lsn: 0x16_b3_74_d8_48n,
    xid: 4_294_967_295n,
    committedAtUs: 1_700_000_000_000_001n,
    capturedAtUs: 1_700_000_000_000_002n,
    topic: 'shop.public.t',
    partition: 3,
    offset: 2 ** 40,
    version: layout.version,
    after,
    before: null,
    unchanged,
  };
}

const nameOf = (kind: number): string =>
  Object.entries(fieldTypes).find(([, number]) => number === kind)?.[0] ?? '';

/** The descriptor as the protobuf library reads it. */
function typeOf(descriptor: RowDescriptor): protobuf.Type {
  const type = new protobuf.Type('Row');
  for (const { name, number, label, type: kind } of descriptor.field) {
    const rule = label === 3 ? 'repeated' : 'optional';
    const options = rule === 'repeated' ? { packed: false } : {};
    type.add(new protobuf.Field(name, number, nameOf(kind), rule, undefined, options));
  }
  new protobuf.Root().add(type);
  return type;
}

const origin = { batchId: 'b1', loadedAtUs: 1_700_000_000_000_003n };
const encoder = new RowEncoder(layout);
const reader = typeOf(encoder.descriptor);
const physicals = new Map(
  encoder.descriptor.field.map(({ name, options }) => [
    options?.['.google.cloud.bigquery.storage.v1.columnName'] ?? name,
    name,
  ]),
);

type Cells = Readonly<Record<string, unknown>>;
const decode = (row: Uint8Array): Cells =>
  reader.toObject(reader.decode(row), { longs: String }) as Cells;

/** What a decoded field says, in the words of the newline-delimited JSON of batch mode. */
function stagedCell(lakeType: string, cell: unknown): unknown {
  switch (lakeType) {
    case 'INT64':
    case 'FLOAT64':
    case 'BOOL':
      return String(cell as number);
    case 'DATE':
      return momentText(BigInt(cell as number) * 86_400_000_000n).slice(0, 10);
    case 'TIMESTAMP':
      return momentText(BigInt(cell as string));
    case 'DATETIME':
      return unpackedDate(BigInt(cell as string)) + ' ' + unpackedTime(BigInt(cell as string));
    case 'TIME':
      return unpackedTime(BigInt(cell as string));
    case 'BYTES':
      return Buffer.from(cell as Uint8Array).toString('base64');
    default:
      return cell;
  }
}

const digits = (value: bigint, width: number): string => String(value).padStart(width, '0');
const unpackedDate = (packed: bigint): string =>
  [
    digits(packed >> 46n, 4),
    digits((packed >> 42n) & 15n, 2),
    digits((packed >> 37n) & 31n, 2),
  ].join('-');
const unpackedTime = (packed: bigint): string =>
  [32n, 26n, 20n]
    .map((shift, index) => digits((packed >> shift) & (index === 0 ? 31n : 63n), 2))
    .join(':') + `.${digits(packed & 0xf_ff_ffn, 6)}`;

describe('a change as a message of the Storage Write interface', () => {
  it('means value by value what the load of batch mode means', () => {
    const image = fc.tuple(
      ...columns.map((_, at) => fc.option(typed[at % typed.length]?.[1] ?? text)),
    );
    fc.assert(
      fc.property(fc.array(image, { minLength: 1, maxLength: 3 }), (images) => {
        const rows = encoder.encode(
          images.map((after) => changeOf(after)),
          origin,
        );
        for (const [at, row] of rows.entries()) expectImage(decode(row), images[at] ?? []);
        expect(rows).toHaveLength(images.length);
      }),
      { numRuns: 60 },
    );
  });

  it('says where it comes from', () => {
    const [row] = encoder.encode([changeOf([], [0, 3])], origin);
    expect(decode(row ?? new Uint8Array())).toEqual({
      _cdc_op: 'u',
      _cdc_seq: '0001/000000000000012C/00000001/0',
      _cdc_lsn: '16/B374D848',
      _cdc_xid: '4294967295',
      _cdc_committed_at: '1700000000000001',
      _cdc_captured_at: '1700000000000002',
      _cdc_loaded_at: '1700000000000003',
      _cdc_topic: 'shop.public.t',
      _cdc_partition: '3',
      _cdc_offset: String(2 ** 40),
      _cdc_schema_id: '7',
      _cdc_unchanged: ['c0', 'c3'],
      _cdc_batch_id: 'b1',
    });
  });

  it('is refused when a value is not of its type, and leaves nothing in the next row', () => {
    expect(() => encoder.encode([changeOf([true, 'four'])], origin)).toThrow(
      /int4 came to the lake/,
    );
    const [row] = encoder.encode([changeOf([null, 4])], origin);
    expect(decode(row ?? new Uint8Array())).toMatchObject({ c1: '4' });
    expect(decode(row ?? new Uint8Array())).not.toHaveProperty('c0');
  });

  it('stays whole where chunks end', () => {
    const writer = new ProtoWriter();
    const lengths = [1_000_000, 200_000, 3_000_000, 1, 60];
    const messages = lengths.map((length) => {
      writer.text(10, 'é'.repeat(length));
      return writer.finish();
    });
    const read = new protobuf.Type('Row').add(new protobuf.Field('a', 1, 'string'));
    for (const [at, message] of messages.entries()) {
      expect(read.decode(message).toJSON()['a'] === 'é'.repeat(lengths[at] ?? 0)).toBe(true);
    }
  });
});

function expectImage(cells: Cells, image: readonly Value[]): void {
  const exacts = JSON.parse((cells['_cdc_exact'] ?? '{}') as string) as Record<string, string>;
  for (const [index, { type, physical, lakeType }] of columns.entries()) {
    const value = image[index] ?? null;
    const staged = value === null ? { cell: null, exact: null } : encodeValue(type, value);
    const cell = cells[physicals.get(physical) ?? ''];
    expect(exacts[physical] ?? null).toBe(staged.exact);
    const wanted = staged.cell === null ? null : String(staged.cell);
    expect(cell === undefined ? null : stagedCell(lakeType, cell)).toBe(wanted);
  }
}
