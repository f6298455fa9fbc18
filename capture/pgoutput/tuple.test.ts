import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { columnCount, columnText, encodeTuple, TupleCursor } from './tuple.ts';

type Column = Buffer | null | 'unchanged';
const column: fc.Arbitrary<Column> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(null),
  fc.constant<Column>('unchanged'),
);

function walk(cursor: TupleCursor): Column[] {
  const columns: Column[] = [];
  while (cursor.next()) {
    expect(cursor.index).toBe(columns.length);
    if (cursor.kind === 'text') {
      columns.push(Buffer.from(cursor.bytes.subarray(cursor.start, cursor.end)));
    } else {
      columns.push(cursor.kind === 'null' ? null : 'unchanged');
    }
  }
  return columns;
}

describe('tuples', () => {
  it('walk back to the columns they were made of', () => {
    const cursor = new TupleCursor();
    fc.assert(
      fc.property(fc.array(column, { maxLength: 30 }), fc.nat(50), (columns, shift) => {
        const { bytes } = encodeTuple(columns);
        const shifted = { bytes: Buffer.concat([Buffer.alloc(shift, 0x74), bytes]), offset: shift };
        expect(columnCount(shifted)).toBe(columns.length);
        expect(walk(cursor.reset(shifted))).toEqual(columns);
        expect(cursor.next()).toBe(false);
      }),
    );
  });

  it('tell SQL NULL from a value that was not sent', () => {
    const tuple = encodeTuple([null, 'unchanged', Buffer.alloc(0), Buffer.from('ü')]);
    expect([0, 1, 2, 3].map((index) => columnText(tuple, index))).toEqual([
      null,
      undefined,
      '',
      'ü',
    ]);
  });

  it('are not read past their last column', () => {
    expect(() => columnText(encodeTuple([null]), 1)).toThrow(/invariant broken/);
  });
});
