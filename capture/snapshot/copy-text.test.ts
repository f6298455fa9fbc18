import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TupleBytes } from '../pgoutput/message.ts';
import { columnCount, columnText } from '../pgoutput/tuple.ts';
import { CopyTextReader } from './copy-text.ts';

const texts = (row: TupleBytes) =>
  Array.from({ length: columnCount(row) }, (_, at) => columnText(row, at));

const escapes: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};
const asCopy = (value: string | null) =>
  value === null ? '\\N' : value.replaceAll(/[\\\b\f\n\r\t\v]/g, (found) => escapes[found] ?? '');

test('rows come as they were, wherever the bytes are cut', () => {
  const special = fc.constantFrom('', '\\N', '\\', 'N', '\t', '\n', 'ключ 🙂', '\\.', 'a\\tb');
  const value = fc.option(fc.oneof(fc.string({ unit: 'binary' }), special), { nil: null });
  const table = fc
    .integer({ min: 1, max: 6 })
    .chain((width) => fc.array(fc.array(value, { minLength: width, maxLength: width })));
  fc.assert(
    fc.property(table, fc.integer({ min: 1, max: 40 }), (rows, cut) => {
      const wellFormed = rows.map((row) => row.map((text) => text?.toWellFormed() ?? null));
      const bytes = Buffer.from(
        wellFormed.map((row) => `${row.map(asCopy).join('\t')}\n`).join(''),
      );
      const reader = new CopyTextReader(rows[0]?.length ?? 1);
      for (let at = 0; at < bytes.length; at += cut) reader.push(bytes.subarray(at, at + cut));
      expect(reader.rows.map(texts)).toEqual(wellFormed);
      expect(reader.bytes).toBe(bytes.length);
    }),
    { numRuns: 500 },
  );
});

test('a row of another number of columns is refused', () => {
  expect(() => new CopyTextReader(2).push(Buffer.from('a\n'))).toThrow(/2 columns/);
  expect(() => new CopyTextReader(1).push(Buffer.from('a\tb\n'))).toThrow(/1 columns/);
});

test('a table of no columns has rows', () => {
  const reader = new CopyTextReader(0);
  reader.push(Buffer.from('\n\n'));
  expect(reader.rows.map(texts)).toEqual([[], []]);
});

test('a value longer than a slab is whole', () => {
  const reader = new CopyTextReader(2);
  const long = 'x'.repeat(1_000_000);
  reader.push(Buffer.from(`${long}\t1\nb\t2\n`));
  expect(reader.rows.map(texts)).toEqual([
    [long, '1'],
    ['b', '2'],
  ]);
});
