import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RecentTexts } from './avro-reader.ts';

it('a text is the one that its bytes say, whichever others were read before it', () => {
  // Few letters and lengths, so that many texts are looked for in the same place.
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '\u00ff', '😀'), maxLength: 6 });
  fc.assert(
    fc.property(fc.array(text, { maxLength: 200 }), (texts) => {
      const recent = new RecentTexts();
      for (const one of texts) {
        const bytes = Buffer.from(`>${one}<`);
        expect(recent.get(bytes, 1, bytes.length - 1)).toBe(one);
      }
    }),
  );
});
