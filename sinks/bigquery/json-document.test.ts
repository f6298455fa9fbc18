import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { storedJson } from '../../test/support/bigquery/json-value.ts';
import { jsonTexts, nestedJson } from '../../test/support/json-documents.ts';
import { decodeValue } from './decode.ts';
import { encodeValue, unfitReason } from './encode.ts';
import { readJson } from './json-document.ts';

const lakeType = 'JSON';
const kinds = ['json', 'jsonb'] as const;

/** A document's value with each number as its sign, digits and power of ten, so that none is rounded. */
function valueOf(text: string): unknown {
  const reviver = (_key: string, value: unknown, { source }: { source?: string }) => {
    if (typeof value !== 'number') return value;
    const [, sign = '', whole = '', fraction = '', exponent = '0'] =
      /^(-?)(\d+)(?:\.(\d+))?(?:e(.+))?$/i.exec(source ?? '') ?? [];
    const digits = (whole + fraction).replace(/^0+/, '');
    const kept = digits.replace(/0+$/, '');
    if (kept === '') return '0';
    return `${sign}${kept} ${Number(exponent) - fraction.length + digits.length - kept.length}`;
  };
  return JSON.parse(text, reviver as Parameters<typeof JSON.parse>[1]) as unknown;
}

/** What the lake gives back of a value: through the cell that the service makes of it. */
function throughLake(kind: (typeof kinds)[number], text: string) {
  const { cell, exact } = encodeValue({ kind }, text, lakeType);
  const stored = cell === null ? null : storedJson(String(cell), 'exact');
  return decodeValue({ kind }, { lakeType, cell: stored, exact: exact ?? undefined });
}

describe('a document in a JSON column', () => {
  it.for(kinds)('comes back as the text that it was, of type %s', (kind) => {
    fc.assert(
      fc.property(jsonTexts, (text) => {
        expect(throughLake(kind, text)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  it('that fits is the same value there, and a text of its own is one that the service gives back', () => {
    fc.assert(
      fc.property(jsonTexts, (text) => {
        const { canonical, problem } = readJson(text);
        fc.pre(problem === null);
        const stored = storedJson(text, 'exact');
        expect(valueOf(stored)).toEqual(valueOf(text));
        expect(readJson(stored)).toEqual({ canonical, problem: null });
        expect(readJson(canonical)).toEqual({ canonical, problem: null });
      }),
      { numRuns: 2_000 },
    );
  });

  it('that does not fit is one that the service refuses, rounds, cuts or mends', () => {
    fc.assert(
      fc.property(jsonTexts, (text) => {
        const { problem } = readJson(text);
        fc.pre(problem !== null && !problem.includes('twice') && !problem.includes('Unicode'));
        expect(() => storedJson(text, 'exact')).toThrow(/round-trip|nested/);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['{"a": 1, "bb": [null, true], "ä": {}}', null],
    ['{"a": 1.5, "b": -0.000001}', null],
    ['[-9223372036854775808, 18446744073709551615]', null],
    ['"é😀\\n"', null],
  ])('needs no text beside it when it is jsonb’s: %s', (text, exact) => {
    expect(encodeValue({ kind: 'jsonb' }, text, lakeType)).toEqual({ cell: text, exact });
  });

  test.each([
    '{"a":1}',
    '{"bb": 1, "a": 2}',
    '1.0',
    '1e2',
    '-0',
    '1.50',
    ' 1',
    '"\\u0061"',
    '100000000000000000000.0',
  ])('has its text beside it when it is the same value, spelled another way: %s', (text) => {
    const encoded = encodeValue({ kind: 'json' }, text, lakeType);
    expect(encoded).toEqual({ cell: text, exact: text });
    expect(unfitReason({ kind: 'json' }, text, lakeType)).toBeNull();
  });

  test.each([
    ['{"a": 1, "a": 1}', /key stands .* twice/],
    ['{"a": 1, "\\u0061": 2}', /key stands .* twice/],
    ['18446744073709551616', /neither a whole one of 64 bits nor one of FLOAT64/],
    ['-9223372036854775809', /neither/],
    ['[0.1234567890123456789]', /neither/],
    ['1e400', /neither/],
    ['1e-400', /neither/],
    [`1${'0'.repeat(2_000)}`, /too long/],
    ['"\\ud800"', /no Unicode/],
    ['"\\u0000"', /no Unicode, or has a character zero/],
    [nestedJson(501), /deeper than 500 levels/],
    ['{"a": tru}', /no JSON/],
    ['[1, 2', /no JSON/],
    ['1 2', /no JSON/],
    ['"a', /no JSON/],
  ])('is NULL beside its text when it does not fit: %.40s', (text, reason) => {
    expect(encodeValue({ kind: 'jsonb' }, text, lakeType)).toEqual({ cell: null, exact: text });
    expect(unfitReason({ kind: 'jsonb' }, text, lakeType)).toMatch(reason);
  });

  it('may have 500 levels and no more, as the service', () => {
    expect(readJson(nestedJson(500)).problem).toBeNull();
    expect(readJson(nestedJson(501)).problem).not.toBeNull();
    expect(() => storedJson(nestedJson(500), 'round')).not.toThrow();
    expect(() => storedJson(nestedJson(501), 'round')).toThrow('nested deeper than 500');
  });

  it('is read in a time that grows with its length, whatever is in it', () => {
    const long = [`1${'0'.repeat(200_000)}1`, `"${'\\\\'.repeat(500_000)}"`, '['.repeat(1_000_000)];
    const startedAt = performance.now();
    for (const text of long) readJson(text);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

test('an array in a JSON column holds documents as texts, however deep they are', () => {
  const type = { kind: 'array', element: { kind: 'jsonb' } } as const;
  const value = [nestedJson(600), null, '{"a": 1}'];
  const { cell, exact } = encodeValue(type, value, lakeType);
  expect(exact).toBeNull();
  const stored = storedJson(String(cell), 'exact');
  expect(decodeValue(type, { lakeType, cell: stored, exact: undefined })).toEqual(value);
});
