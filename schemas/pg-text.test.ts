import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExactText, type Value } from './change.ts';
import { civilFromDays } from './civil-date.ts';
import {
  canonicalText,
  canonicalValue,
  dateText,
  decimalText,
  parseArray,
  timestampText,
} from './pg-text.ts';
import type { LogicalType } from './table-schema.ts';

// [type, value as the sinks see it, text as PostgreSQL 18 prints it]
const cases: [LogicalType, Value, string][] = [
  [{ kind: 'bool' }, true, 't'],
  [{ kind: 'int8' }, -9_223_372_036_854_775_808n, '-9223372036854775808'],
  [{ kind: 'numeric', precision: 12, scale: 2 }, -5n, '-0.05'],
  [{ kind: 'numeric', precision: 3, scale: -2 }, 12n, '1200'],
  [{ kind: 'numeric', precision: 2, scale: 4 }, 12n, '0.0012'],
  [{ kind: 'date' }, 0, '1970-01-01'],
  [{ kind: 'date' }, -735_126, '0044-04-18 BC'],
  [{ kind: 'date' }, 2_145_042_905, '5874897-12-31'],
  [{ kind: 'time', precision: 6 }, 86_400_000_000n, '24:00:00'],
  [{ kind: 'time', precision: 6 }, 86_399_999_999n, '23:59:59.999999'],
  [{ kind: 'timestamp', precision: 6 }, -1n, '1969-12-31 23:59:59.999999'],
  [{ kind: 'timestamptz', precision: 6 }, 1_700_000_000_120_000n, '2023-11-14 22:13:20.12+00'],
  [{ kind: 'timestamptz', precision: 6 }, new ExactText('-infinity'), '-infinity'],
  [{ kind: 'bytea' }, new Uint8Array([0, 1, 255]), '\\x0001ff'],
  [{ kind: 'float8' }, 1e15, '1e+15'],
  [{ kind: 'float8' }, -0, '-0'],
  [{ kind: 'float8' }, Number.NEGATIVE_INFINITY, '-Infinity'],
  [{ kind: 'float4' }, Math.fround(3.3), '3.3'],
  [{ kind: 'array', element: { kind: 'int4' } }, [1, null, 3], '{1,NULL,3}'],
  [
    { kind: 'array', element: { kind: 'text' } },
    ['a "b"', 'NULL', '', 'c\\d,'],
    '{"a \\"b\\"","NULL","","c\\\\d,"}',
  ],
  [{ kind: 'array', element: { kind: 'int4' } }, new ExactText('{{1,2},{3,4}}'), '{{1,2},{3,4}}'],
  [{ kind: 'array', element: { kind: 'int4' } }, new ExactText('[0:1]={7,8}'), '[0:1]={7,8}'],
];

test.each(cases)(
  'a value of the lake and PostgreSQL’s text of it agree: %o %o',
  (type, value, text) => {
    expect(canonicalValue(type, value)).toBe(canonicalText(type, text));
  },
);

test('NULL, the text NULL and the empty text are three different things', () => {
  const type: LogicalType = { kind: 'text' };
  const forms = [
    canonicalValue(type, null),
    canonicalValue(type, 'NULL'),
    canonicalValue(type, ''),
  ];
  expect(new Set(forms).size).toBe(3);
});

test('civil dates agree with the platform calendar', () => {
  fc.assert(
    fc.property(fc.integer({ min: -719_162, max: 2_932_896 }), (days) => {
      const date = new Date(days * 86_400_000);
      expect(civilFromDays(days)).toEqual({
        year: date.getUTCFullYear(),
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
      });
    }),
  );
});

test('moments around year one and the epoch print without gaps', () => {
  expect(dateText(-719_162)).toBe('0001-01-01');
  expect(dateText(-719_163)).toBe('0001-12-31 BC');
  expect(timestampText(-62_135_596_800_000_001n, '+00')).toBe('0001-12-31 23:59:59.999999+00 BC');
});

test('a decimal keeps its digits whatever the scale', () => {
  fc.assert(
    fc.property(fc.bigInt(), fc.integer({ min: 1, max: 40 }), (unscaled, scale) => {
      const text = decimalText(unscaled, scale);
      expect(BigInt(text.replace('.', ''))).toBe(unscaled);
      expect(text.split('.')[1]).toHaveLength(scale);
    }),
  );
});

test('array literals that are not a plain list are left alone', () => {
  for (const text of ['{{1}}', '[2:3]={1,2}', '{1,2', '{"a}', '{,}', 'x'])
    expect(parseArray(text)).toBeNull();
});
