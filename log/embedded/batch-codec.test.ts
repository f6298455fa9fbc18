import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../runtime/errors.ts';
import type { LogRecord } from '../log.ts';
import { decodeBatch, encodeBatch, encodedBytesMax } from './batch-codec.ts';

const bytes = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value));
const nullable = fc.option(bytes, { nil: null });
const timestampMs = fc.oneof(
  fc.integer({ min: 0, max: 2_000_000_000_000 }),
  fc.constantFrom(0, -1, -62_135_596_800_000, 253_402_300_799_999),
);
const header = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 8 }), bytes);
const record: fc.Arbitrary<LogRecord> = fc.record({
  key: nullable,
  value: nullable,
  headers: fc.array(header, { maxLength: 4 }),
  timestampMs,
});
const records = fc.array(record, { minLength: 1, maxLength: 20 });

const encode = (list: readonly LogRecord[]) =>
  encodeBatch(
    list,
    list.reduce((sum, item) => sum + encodedBytesMax(item), 0),
  );

describe('the batch codec', () => {
  it('gives back every record as it was', () => {
    fc.assert(
      fc.property(records, fc.nat(), (list, baseOffset) => {
        const decoded = decodeBatch(encode(list), baseOffset, list.length);
        expect(decoded).toEqual(
          list.map((item, index) => ({ ...item, offset: baseOffset + index })),
        );
      }),
    );
  });

  it('tells null from empty', () => {
    const empty = { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [], timestampMs: 0 };
    const none = { key: null, value: null, headers: [], timestampMs: 0 };
    expect(decodeBatch(encode([empty, none]), 7, 2)).toEqual([
      { ...empty, offset: 7 },
      { ...none, offset: 8 },
    ]);
  });

  it('holds memory of its own, so that it can be transferred', () => {
    const encoded = encode([{ key: null, value: Buffer.from('x'), headers: [], timestampMs: 1 }]);
    const moved = structuredClone(encoded, { transfer: [encoded.buffer as ArrayBuffer] });
    expect(decodeBatch(Buffer.from(moved), 0, 1)[0]?.value?.toString()).toBe('x');
  });

  it('names changed, cut or foreign bytes as corrupt', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 });
    const input = fc.tuple(records, edits, fc.nat(), fc.nat(30));
    const result = fc.check(
      fc.property(input, ([list, changes, cut, count]) => {
        const whole = encode(list);
        for (const [at, value] of changes) whole[at % whole.length] = value;
        try {
          decodeBatch(whole.subarray(0, cut % (whole.length + 1)), 0, count);
          return true;
        } catch (error) {
          return error instanceof PipelineError && error.kind === 'log-corrupt';
        }
      }),
      { numRuns: 2000 },
    );
    expect(result).toHaveProperty('failed', false);
  });
});
