import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ExactText, type Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { decodeValue } from './decode.ts';
import { encodeValue, hasLoneSurrogate } from './encode.ts';

const exact = fc
  .constantFrom('NaN', 'infinity', '-infinity', '24:00:00', '[0:1]={7,8}', '0044-03-15 BC')
  .map((text) => new ExactText(text));
const micros = fc.oneof(fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }), exact);
const numbers = fc.oneof(fc.double(), fc.constantFrom(-0, 0, NaN));

const scalars: readonly (readonly [LogicalType, fc.Arbitrary<Exclude<Value, null>>])[] = [
  [{ kind: 'bool' }, fc.boolean()],
  [{ kind: 'int4' }, fc.integer()],
  [{ kind: 'int8' }, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  [{ kind: 'float8' }, numbers],
  [
    { kind: 'numeric', precision: 20, scale: 4 },
    fc.oneof(fc.bigInt({ min: 1n - 10n ** 20n, max: 10n ** 20n - 1n }), exact),
  ],
  [{ kind: 'numeric', precision: 60, scale: 20 }, fc.oneof(fc.bigInt(), exact)],
  [{ kind: 'numeric', precision: 3, scale: -2 }, fc.bigInt()],
  [{ kind: 'text' }, fc.string({ unit: 'binary' })],
  [{ kind: 'json' }, fc.oneof(fc.json(), fc.constant('["\\udc18"]'))],
  [{ kind: 'date' }, fc.oneof(fc.integer({ min: -2_000_000, max: 2_000_000_000 }), exact)],
  [{ kind: 'timestamp', precision: 3 }, micros],
  [{ kind: 'timestamptz', precision: 6 }, micros],
  [{ kind: 'bytea' }, fc.uint8Array()],
];

it.each(scalars)('a %o read back is the value written, alone and in an array', (type, values) => {
  const comesBack = (of: LogicalType) => (value: Exclude<Value, null>) => {
    const { cell, exact: text } = encodeValue(of, value);
    expect(decodeValue(of, cell, text ?? undefined)).toStrictEqual(value);
  };
  const array: LogicalType = { kind: 'array', element: type };
  fc.assert(fc.property(values, comesBack(type)));
  fc.assert(fc.property(fc.array(fc.option(values)), comesBack(array)));
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
