import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExactText, type Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { bigqueryTypeOf } from '../../schemas/type-mapping.ts';
import { decodeValue } from './decode.ts';
import { encodeValue } from './encode.ts';

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const any: readonly (readonly [LogicalType, fc.Arbitrary<Exclude<Value, null>>])[] = [
  [{ kind: 'int8' }, int64],
  [{ kind: 'float8' }, fc.double()],
  [
    { kind: 'numeric', precision: 38, scale: 9 },
    fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }),
  ],
  [{ kind: 'numeric', precision: 3, scale: -2 }, fc.bigInt({ min: -999n, max: 999n })],
  [{ kind: 'date' }, fc.integer({ min: -2_451_545, max: 2_145_031_948 })],
  [{ kind: 'time', precision: 6 }, fc.bigInt({ min: 0n, max: 86_400_000_000n })],
  [{ kind: 'timestamp', precision: 6 }, int64],
  [{ kind: 'bytea' }, fc.uint8Array()],
  [{ kind: 'jsonb' }, fc.json()],
  [{ kind: 'array', element: { kind: 'int8' } }, fc.array(fc.option(int64))],
  [
    { kind: 'array', element: { kind: 'date' } },
    fc.array(fc.option(fc.integer({ min: -9e5, max: 4e6 }))),
  ],
];

describe('a value on its way into BigQuery', () => {
  it.for(any)('comes back as it was: %o', ([type, values]) => {
    fc.assert(
      fc.property(values, (value) => {
        const { cell, exact } = encodeValue(type, value);
        const text = cell === null ? null : String(cell);
        const lakeType = bigqueryTypeOf(type);
        const stored = { lakeType, cell: text, exact: exact ?? undefined };
        expect(decodeValue(type, stored)).toEqual(value);
      }),
    );
  });

  it('is never a BigInt, of which the client would die', () => {
    expect(encodeValue({ kind: 'int8' }, 2n ** 60n).cell).toBe('1152921504606846976');
  });

  it.for([
    [{ kind: 'time', precision: 6 }, 86_400_000_000n],
    [{ kind: 'date' }, new ExactText('infinity')],
    [{ kind: 'date' }, -800_000],
    [{ kind: 'numeric', precision: 12, scale: 2 }, new ExactText('NaN')],
    [{ kind: 'float8' }, -0],
  ] as const)('that its column cannot hold has its exact text beside it: %o', ([type, value]) => {
    expect(encodeValue(type, value).exact).not.toBeNull();
  });
});
