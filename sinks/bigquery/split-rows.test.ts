import fc from 'fast-check';
import { expect, it } from 'vitest';
import { splitRows } from './split-rows.ts';

it('rows keep their order and places, in parts that only a single row may exceed', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 50 });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 200 }), (lengths, bytesMax) => {
      const rows = lengths.map((length, index) => new Uint8Array(length).fill(index));
      const parts = splitRows(rows, bytesMax);
      expect(parts.flatMap((part) => part.rows)).toEqual(rows);
      let first = 0;
      for (const part of parts) {
        expect(part.first).toBe(first);
        expect(part.rows.length).toBeGreaterThan(0);
        const bytes = part.rows.reduce((sum, row) => sum + row.length, 0);
        expect(part.rows.length === 1 || bytes <= bytesMax).toBe(true);
        first += part.rows.length;
      }
    }),
  );
});
