import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDuration, formatSize, parseDuration, parseSize } from './quantity.ts';

describe('a size is a number with a unit, in bytes', () => {
  test.each([
    ['8 MiB', 8_388_608],
    ['8MiB', 8_388_608],
    ['1.5 GiB', 1_610_612_736],
    ['2 kB', 2_000],
    [' 64 KiB ', 65_536],
    ['7 B', 7],
  ])('%s', (text, bytes) => expect(parseSize(text)).toEqual({ value: bytes }));
});

describe('a time is a number with a unit, in milliseconds', () => {
  test.each([
    ['10 s', 10_000],
    ['250ms', 250],
    ['1.5 min', 90_000],
    ['2 h', 7_200_000],
    ['7 d', 604_800_000],
  ])('%s', (text, ms) => expect(parseDuration(text)).toEqual({ value: ms }));
});

describe('what is not a quantity is told with the units that are allowed', () => {
  test.each([
    [10, '10 has no unit; write one of ms, s, min, h, d, as in "10 s"'],
    ['10', '"10" has no unit; write one of ms, s, min, h, d, as in "10 s"'],
    ['10 MB', '"MB" is not a unit of time; use one of ms, s, min, h, d'],
    ['-1 s', '"-1 s" is not a time; write it like "10 s"'],
    ['soon', '"soon" is not a time; write it like "10 s"'],
    [true, 'true is not a time; write it like "10 s"'],
    [['1 s'], 'a list is not a time; write it like "10 s"'],
    [{}, 'a block is not a time; write it like "10 s"'],
  ])('%j', (input, problem) => expect(parseDuration(input)).toEqual({ problem }));
});

test('what is formatted in whole units reads back as itself', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 1023 }),
      fc.constantFrom(1, 1024, 1024 ** 2, 1024 ** 3),
      (number, unit) => {
        expect(parseSize(formatSize(number * unit))).toEqual({ value: number * unit });
      },
    ),
  );
  fc.assert(
    fc.property(
      fc.nat({ max: 23 }),
      fc.constantFrom(1, 1_000, 60_000, 3_600_000, 86_400_000),
      (number, unit) => {
        expect(parseDuration(formatDuration(number * unit))).toEqual({ value: number * unit });
      },
    ),
  );
});

test('formatting takes the largest unit that leaves at least one', () => {
  expect([0, 1023, 1536, 5 * 1024 ** 3].map(formatSize)).toEqual([
    '0 B',
    '1023 B',
    '1.5 KiB',
    '5 GiB',
  ]);
  expect([0, 999, 90_000, 86_400_000].map(formatDuration)).toEqual([
    '0 ms',
    '999 ms',
    '1.5 min',
    '1 d',
  ]);
});
