import fc from 'fast-check';
import { expect, it } from 'vitest';
import { metadataChangesMax, MetadataPace, metadataWindowMs } from './metadata-pace.ts';

it('no window of ten seconds has more changes of one table than allowed; another table does not wait', async () => {
  expect.hasAssertions();
  const gaps = fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.nat(4_000)), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(gaps, async (given) => {
      let nowMs = 0;
      const slept = { a: 0, b: 0 };
      const at: Record<string, number[]> = { a: [], b: [] };
      const clock = {
        now: () => nowMs,
        sleep: async (ms: number) => {
          nowMs += ms;
        },
      };
      const pace = new MetadataPace(clock);
      for (const [table, gapMs] of given) {
        nowMs += gapMs;
        const before = nowMs;
        await pace.wait(table);
        slept[table as 'a' | 'b'] += nowMs - before;
        at[table]?.push(nowMs);
      }
      for (const times of Object.values(at)) {
        for (const [index, time] of times.entries()) {
          const earlier = times[index - metadataChangesMax] ?? -Infinity;
          expect(time - earlier).toBeGreaterThanOrEqual(metadataWindowMs);
        }
      }
      const isRare = at['b']!.length <= metadataChangesMax;
      expect(isRare ? slept.b : 0).toBe(0);
    }),
  );
});
