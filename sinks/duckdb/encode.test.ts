import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ExactText, type Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { decodeValue } from './decode.ts';
import { columnEncoder, encodeValue, hasLoneSurrogate } from './encode.ts';
import { ChunkWriter, chunkRows } from './vectors.ts';

const exact = fc
  .constantFrom('NaN', 'infinity', '-infinity', '24:00:00', '[0:1]={7,8}', '0044-03-15 BC')
  .map((text) => new ExactText(text));
const micros = fc.oneof(fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }), exact);
const numbers = fc.oneof(fc.double(), fc.constantFrom(-0, 0, NaN));
const float4 = fc.oneof(fc.float(), fc.constantFrom(-0, 0, NaN));
const texts = fc.oneof(
  { weight: 9, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  fc.string({ unit: 'binary', minLength: 1000, maxLength: 1100 }),
);
const below = (limit: bigint) => fc.bigInt({ min: 1n - limit, max: limit - 1n });

const scalars: readonly (readonly [LogicalType, fc.Arbitrary<Exclude<Value, null>>])[] = [
  [{ kind: 'bool' }, fc.boolean()],
  [{ kind: 'int2' }, fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })],
  [{ kind: 'int4' }, fc.integer()],
  [{ kind: 'int8' }, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  [{ kind: 'oid' }, fc.bigInt({ min: 0n, max: 2n ** 32n - 1n })],
  [{ kind: 'float4' }, float4],
  [{ kind: 'float8' }, numbers],
  [{ kind: 'numeric', precision: 4, scale: 2 }, fc.oneof(below(10n ** 4n), exact)],
  [{ kind: 'numeric', precision: 9, scale: 0 }, fc.oneof(below(10n ** 9n), exact)],
  [{ kind: 'numeric', precision: 18, scale: 18 }, fc.oneof(below(10n ** 18n), exact)],
  [{ kind: 'numeric', precision: 20, scale: 4 }, fc.oneof(below(10n ** 20n), exact)],
  [{ kind: 'numeric', precision: 60, scale: 20 }, fc.oneof(fc.bigInt(), exact)],
  [{ kind: 'numeric', precision: 3, scale: -2 }, fc.bigInt()],
  [{ kind: 'text' }, texts],
  [{ kind: 'uuid' }, fc.uuid()],
  [{ kind: 'json' }, fc.oneof(fc.json(), fc.constant('["\\udc18"]'))],
  [{ kind: 'date' }, fc.oneof(fc.integer({ min: -2_000_000, max: 2_000_000_000 }), exact)],
  [{ kind: 'time', precision: 6 }, fc.oneof(fc.bigInt({ min: 0n, max: 86_399_999_999n }), exact)],
  [{ kind: 'timestamp', precision: 3 }, micros],
  [{ kind: 'timestamptz', precision: 6 }, micros],
  [{ kind: 'bytea' }, fc.uint8Array()],
];

/** Rows through a chunk, as the client reads them there. */
function throughChunk(type: LogicalType, writer: ChunkWriter, rows: readonly Value[]) {
  const stored = rows.map((value) => (value === null ? null : encodeValue(type, value)));
  for (const [row, one] of stored.entries()) {
    if (one !== null && one.cell !== null) writer.columns[0]?.put(row, one.cell);
  }
  const cells = writer.finish(rows.length).getColumnValues(0);
  return stored.map((one, row) => decodeValue(type, cells[row] ?? null, one?.exact ?? undefined));
}

it.each(scalars)('a %o read back is the value written, alone and in an array', (type, values) => {
  for (const [of, one] of [
    [type, values],
    [{ kind: 'array', element: type }, fc.array(fc.option(values))],
  ] as const) {
    const writer = new ChunkWriter([columnEncoder(of).vector]);
    const rows = fc.array(fc.option<Value>(one), { minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(rows, (written) => {
        expect(throughChunk(of, writer, written)).toStrictEqual(written);
      }),
    );
  }
});

it('a full chunk comes back, also when the one before it was another', () => {
  const type: LogicalType = { kind: 'text' };
  const writer = new ChunkWriter([columnEncoder(type).vector]);
  const long = Array.from({ length: chunkRows }, (_, row) => `text ${row} `.repeat(row % 60));
  const short = long.map((_, row) => (row % 3 === 0 ? null : String(row)));
  for (const rows of [long, short, long]) {
    expect(throughChunk(type, writer, rows)).toStrictEqual(rows);
  }
});

it.each<[LogicalType, Value]>([
  [{ kind: 'int2' }, 40_000],
  [{ kind: 'int4' }, 2 ** 31],
  [{ kind: 'int8' }, 2n ** 63n],
  [{ kind: 'oid' }, -1n],
  [{ kind: 'date' }, 2 ** 31],
])('%o refuses %s, which it cannot hold', (type, value) => {
  const writer = new ChunkWriter([columnEncoder(type).vector]);
  expect(() => throughChunk(type, writer, [value])).toThrow(/beyond the range/);
});

it.each([
  ['"\\ud800"', true],
  ['"\\udc18\\ud83d"', true],
  ['"\\ud83d\\udc18"', false],
  ['"\\\\ud800"', false],
  ['"\\\\\\ud800"', true],
  ['"plain"', false],
])('half a surrogate pair in %s: %s', (json, isLone) => {
  expect(hasLoneSurrogate(json)).toBe(isLone);
});
