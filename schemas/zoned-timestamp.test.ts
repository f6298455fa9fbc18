import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { timestampText } from './pg-text.ts';
import { zonedTimestampUs } from './zoned-timestamp.ts';

const read = (text: string) =>
  zonedTimestampUs(Buffer.from(`<${text}>`), 1, 1 + Buffer.byteLength(text));

describe('zonedTimestampUs', () => {
  it.each([
    ['1970-01-01T00:00:00Z', 0n],
    ['1969-12-31T23:59:59.999999Z', -1n],
    ['2026-01-02T03:04:05.6Z', 1_767_323_045_600_000n],
    ['2026-01-02T03:04:05.678901Z', 1_767_323_045_678_901n],
    ['2026-01-02T04:04:05.678901+01:00', 1_767_323_045_678_901n],
    ['0001-01-01T00:00:00Z', -62_135_596_800_000_000n],
    ['0000-12-31T00:00:00Z', -62_135_683_200_000_000n],
    ['-4713-11-24T00:00:00Z', -210_866_803_200_000_000n],
    ['9999-12-31T23:59:59.999999Z', 253_402_300_799_999_999n],
    ['+294276-12-31T23:59:59.999999Z', 9_224_318_015_999_999_999n],
  ])('%s is %s µs', (text, micros) => {
    expect(read(text)).toBe(micros);
  });

  it.each(['infinity', '', '2026-01-02', '2026-01-02 03:04:05Z', '2026-01-02T03:04:05.Z'])(
    'refuses "%s"',
    (text) => {
      expect(read(text)).toBeUndefined();
    },
  );

  it('reads every moment of four-digit years', () => {
    const moments = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n });
    fc.assert(
      fc.property(moments, (micros) => {
        const text = `${timestampText(micros, '').replace(' ', 'T')}Z`;
        expect(read(text)).toBe(micros);
      }),
    );
  });
});
