import { describe, expect, it } from 'vitest';
import { valueSchema } from '../../schemas/avro.ts';
import { headerExact, headerExactBefore } from '../../schemas/control.ts';
import type { LogicalType, TableSchema } from '../../schemas/table-schema.ts';
import { duckdbTypeOf } from '../../schemas/type-mapping.ts';
import { oracleType } from '../../test/support/avro-oracle.ts';
import { twosComplement } from '../../test/support/pg-values.ts';
import { encodeTuple } from '../pgoutput/tuple.ts';
import type { LogRecord } from '../../log/log.ts';
import { compileTranscoder } from './compile-transcoder.ts';
import type { ChangeFrame, Transcoder } from './transcoder.ts';

const frame: ChangeFrame = {
  transaction: {
    xid: 1,
    commitLsn: 1n,
    committedAtUs: 0n,
    lastCommitLsn: null,
    snapshot: 'false',
    origin: null,
  },
  lsn: 1n,
  seqPrefix: '0001/0000000000000001/',
  ordinal: 1,
  capturedAtUs: 0n,
  block: null,
};

const tableOf = (type: LogicalType, nullable: boolean): TableSchema => ({
  oid: 1,
  schema: 's',
  name: 't',
  columns: [{ name: 'v', type, pgType: '', nullable }],
  key: [],
  replicaIdentity: 'full',
});

const compile = (table: TableSchema): Transcoder =>
  compileTranscoder({
    table,
    prefix: 'p',
    database: 'd',
    keySchemaId: null,
    valueSchemaId: 1,
    connector: 'c',
    version: 'v',
  });

const tupleOf = (text: string) => encodeTuple([Buffer.from(text)]);

const header = (record: LogRecord | undefined, name: string): unknown => {
  const found = record?.headers.find(([candidate]) => candidate === name);
  return found === undefined ? undefined : JSON.parse(found[1].toString());
};

/** The value of column `v` in `after`, out of its union. */
function valueOf(table: TableSchema, record: LogRecord | undefined): unknown {
  const decoded = oracleType(valueSchema(table, 'p')).fromBuffer(record!.value!.subarray(5));
  const { v } = (decoded as { after: { s: never } & Record<string, { v: unknown }> }).after[
    'p.s.t.Value'
  ]!;
  return table.columns[0]!.nullable && v !== null ? Object.values(v as object)[0] : v;
}

const numeric = (precision: number, scale: number): LogicalType => ({
  kind: 'numeric',
  precision,
  scale,
});
const free: LogicalType = { kind: 'numeric-free' };
const date: LogicalType = { kind: 'date' };
const time = (precision: number): LogicalType => ({ kind: 'time', precision });
const timestamp = (precision: number): LogicalType => ({ kind: 'timestamp', precision });
const timestamptz = (precision: number): LogicalType => ({ kind: 'timestamptz', precision });
const arrayOf = (element: LogicalType): LogicalType => ({ kind: 'array', element });
const int4s = arrayOf({ kind: 'int4' });
const mood: LogicalType = { kind: 'enum', labels: ['ok'] };
const int = (value: number): unknown => ({ int: value });

type Case = readonly [type: LogicalType, text: string, avro: unknown];

/** For test names: "numeric(3,-2) 12300". */
const titled = <C extends readonly [LogicalType, unknown, unknown?]>(cases: readonly C[]) =>
  cases.map((one) => [`${duckdbTypeOf(one[0])} ${String(one[1]).slice(0, 60)}`, one] as const);

const exactValues: readonly Case[] = [
  [{ kind: 'int8' }, '9223372036854775807', 9_223_372_036_854_775_807n],
  [{ kind: 'int8' }, '-9223372036854775808', -9_223_372_036_854_775_808n],
  [{ kind: 'int8' }, '-4294967296000000000', -4_294_967_296_000_000_000n],
  [{ kind: 'int8' }, '1000000000000000', 1_000_000_000_000_000n],
  [{ kind: 'float8' }, 'NaN', Number.NaN],
  [{ kind: 'float8' }, '-Infinity', -Infinity],
  [{ kind: 'float8' }, '-0', -0],
  [{ kind: 'float8' }, '5e-324', 5e-324],
  [{ kind: 'float8' }, '0.1', 0.1],
  [{ kind: 'float8' }, '9007199254740993', 9_007_199_254_740_992],
  [{ kind: 'float4' }, '3.4028235e+38', Math.fround(3.4028235e38)],
  [{ kind: 'float4' }, '1e-45', Math.fround(1e-45)],
  // Between two floats; rounding to a double first would land on the even one below.
  [{ kind: 'float4' }, '1.00000017881393432617187500001', 1.0000002384185791],
  [{ kind: 'float4' }, '1.00000017881393432617187499999', 1.0000001192092896],
  [numeric(3, -2), '12300', twosComplement(123n)],
  [numeric(3, -2), '-12300', twosComplement(-123n)],
  [numeric(3, -2), '0', twosComplement(0n)],
  [numeric(2, 5), '0.00012', twosComplement(12n)],
  [numeric(1000, 0), '9'.repeat(1000), twosComplement(BigInt('9'.repeat(1000)))],
  [numeric(18, 0), '-128', Buffer.of(0x80)],
  [numeric(18, 0), '128', Buffer.of(0, 0x80)],
  [numeric(18, 0), '281474976710655', twosComplement(281_474_976_710_655n)],
  [free, '100', { scale: 0, value: twosComplement(100n) }],
  [free, '-0.5', { scale: 1, value: twosComplement(-5n) }],
  [free, `0.${'0'.repeat(16_382)}1`, { scale: 16_383, value: twosComplement(1n) }],
  [date, '4713-01-01 BC', -2_440_550],
  [date, '0001-12-31 BC', -719_163],
  [date, '5874897-12-31', 2_145_042_905],
  [time(6), '24:00:00', 86_400_000_000n],
  [time(3), '24:00:00', 86_400_000],
  [timestamp(6), '4713-01-01 00:00:00 BC', -210_863_520_000_000_000n],
  [timestamp(6), '2255-06-05 23:47:34.740992', 9_007_199_254_740_992n],
  [timestamp(6), '294247-01-10 04:00:54.775807', 9_223_372_036_854_775_807n],
  [timestamp(3), '294276-12-31 23:59:59.999', 9_224_318_015_999_999n],
  [timestamptz(6), '294276-12-31 23:59:59.999999+00', '+294276-12-31T23:59:59.999999Z'],
  [timestamptz(6), '0044-03-15 12:00:00+00 BC', '-0043-03-15T12:00:00.000000Z'],
  [timestamptz(6), '0001-01-01 00:00:00.5+00 BC', '0000-01-01T00:00:00.500000Z'],
  [timestamptz(0), '2026-01-02 03:04:05+00', '2026-01-02T03:04:05Z'],
  [{ kind: 'bytea' }, '\\x', Buffer.alloc(0)],
  [{ kind: 'jsonb' }, '{"a": 1.10, "a": "\\u0001"}', '{"a": 1.10, "a": "\\u0001"}'],
  [{ kind: 'other' }, '1 year 2 mons -03:04:05', '1 year 2 mons -03:04:05'],
  [int4s, '{}', []],
  [int4s, '{NULL,-4}', [null, int(-4)]],
  [
    arrayOf({ kind: 'text' }),
    '{"NULL","a\\"b\\\\c",ä,"{}"}',
    ['NULL', 'a"b\\c', 'ä', '{}'].map((string) => ({ string })),
  ],
  [arrayOf(mood), '{ok,"needs, quotes"}', ['ok', 'needs, quotes']],
];

/** What Debezium writes, or the nearest to it; the exact text always goes beside it. */
const inexactValues: readonly Case[] = [
  [numeric(12, 2), 'NaN', null],
  [numeric(3, -2), 'NaN', null],
  [free, 'NaN', null],
  [free, 'Infinity', null],
  [free, '-Infinity', null],
  [free, '1.500', { scale: 1, value: twosComplement(15n) }],
  [free, '0.00', { scale: 0, value: twosComplement(0n) }],
  [date, 'infinity', -2_147_472_692],
  [date, '-infinity', -2_147_472_691],
  [timestamp(6), 'infinity', 9_223_372_036_825_200_000n],
  [timestamp(6), '-infinity', -9_223_372_036_832_400_000n],
  [timestamp(3), 'infinity', 9_223_372_036_825_200n],
  [timestamp(6), '294276-12-31 23:59:59.999999', 9_223_372_036_854_775_807n],
  [timestamptz(6), 'infinity', 'infinity'],
  [timestamptz(6), '-infinity', '-infinity'],
  [int4s, '{{1,2},{3,4}}', [null, null]],
  [int4s, '{{{1},{2}}}', [null]],
  [int4s, '[2:3]={7,8}', [int(7), int(8)]],
  [int4s, '[-1:0][2:3]={{1,2},{3,4}}', [null, null]],
  [arrayOf({ kind: 'text' }), '{{"a,}",b},{c,d}}', [null, null]],
  [arrayOf(numeric(4, 1)), '{NaN,1.5}', [null, { bytes: Buffer.of(15) }]],
  [arrayOf(mood), '{ok,NULL}', null],
  [arrayOf(mood), '{{ok},{ok}}', null],
];

describe('values at the edges of their types', () => {
  it.each(titled(exactValues))('%s is exact', (_title, [type, text, avro]) => {
    const table = tableOf(type, true);
    const [record] = compile(table).insert(frame, tupleOf(text));
    expect(valueOf(table, record)).toEqual(avro);
    expect(header(record, headerExact)).toBeUndefined();
  });

  it.each(inexactValues)(
    '%j %s is the nearest, with its exact text beside it',
    (type, text, avro) => {
      const table = tableOf(type, true);
      const [record] = compile(table).insert(frame, tupleOf(text));
      expect(valueOf(table, record)).toEqual(avro);
      expect(header(record, headerExact)).toEqual({ v: text });
    },
  );

  it.each(
    titled<Case>([
      [numeric(12, 2), 'NaN', Buffer.of(0)],
      [free, 'Infinity', { scale: 0, value: Buffer.of(0) }],
      [arrayOf(mood), '{NULL}', []],
    ]),
  )('%s is zero where null cannot stand', (_title, [type, text, zero]) => {
    const table = tableOf(type, false);
    const [record] = compile(table).insert(frame, tupleOf(text));
    expect(valueOf(table, record)).toEqual(zero);
    expect(header(record, headerExact)).toEqual({ v: text });
  });

  it('an old and a new row have their exact texts apart; a delete speaks of the old one', () => {
    const transcoder = compile(tableOf(free, true));
    const before = { kind: 'full', tuple: tupleOf('NaN') } as const;
    const [update] = transcoder.update(frame, before, tupleOf('1.0'));
    expect(header(update, headerExact)).toEqual({ v: '1.0' });
    expect(header(update, headerExactBefore)).toEqual({ v: 'NaN' });
    const [removal] = transcoder.delete(frame, before);
    expect(header(removal, headerExact)).toEqual({ v: 'NaN' });
    expect(header(removal, headerExactBefore)).toBeUndefined();
  });
});

const placeholder = '__debezium_unavailable_value';
const codes = [...Buffer.from(placeholder)];

describe('a value that was not sent', () => {
  it.each(
    titled<readonly [LogicalType, unknown]>([
      [{ kind: 'text' }, placeholder],
      [{ kind: 'other' }, placeholder],
      [{ kind: 'jsonb' }, placeholder],
      [{ kind: 'bytea' }, Buffer.from(placeholder)],
      [arrayOf({ kind: 'text' }), [{ string: placeholder }]],
      [arrayOf({ kind: 'jsonb' }), [{ string: placeholder }]],
      [arrayOf(mood), [placeholder]],
      [int4s, codes.map(int)],
      [arrayOf({ kind: 'int8' }), codes.map((code) => ({ long: BigInt(code) }))],
      [numeric(900, 0), null],
      [free, null],
      [arrayOf({ kind: 'float8' }), null],
    ]),
  )('of %s', (_title, [type, avro]) => {
    const table = tableOf(type, true);
    const [record] = compile(table).update(frame, null, encodeTuple(['unchanged']));
    expect(valueOf(table, record)).toEqual(avro);
    expect(header(record, 'tributary.unchanged')).toEqual(['v']);
  });
});

describe('text that PostgreSQL cannot have written', () => {
  it.each(
    titled<readonly [LogicalType, string]>([
      [{ kind: 'bool' }, 'true'],
      [{ kind: 'int4' }, '1.5'],
      [{ kind: 'int8' }, '9223372036854775808'],
      [{ kind: 'int8' }, ''],
      [{ kind: 'float8' }, 'one'],
      [numeric(9, 2), '1,5'],
      [free, '-'],
      [date, '01/02/2026'],
      [date, '2026-01-02 '],
      [time(6), '12:34'],
      [timestamp(6), '2026-01-02T03:04:05'],
      [timestamptz(6), '2026-01-02 03:04:05+02'],
      [{ kind: 'bytea' }, '\\000'],
      [{ kind: 'bytea' }, '\\xfg'],
      [int4s, '1,2'],
      [int4s, '{"1'],
    ]),
  )('%s is refused, and the error does not show it', (_title, [type, text]) => {
    let thrown: unknown;
    try {
      compile(tableOf(type, true)).insert(frame, tupleOf(text));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ kind: 'value-invalid' });
    expect(text.length > 2 && String(thrown).includes(text)).toBe(false);
  });
});
