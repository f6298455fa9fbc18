import fc from 'fast-check';
import { expect, it } from 'vitest';
import { InFlight } from './in-flight.ts';

it('never more than the limit run at once, all run, and a failure frees its place', async () => {
  expect.hasAssertions();
  const works = fc.array(fc.record({ turns: fc.nat(4), fails: fc.boolean() }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), works, async (max, given) => {
      const inFlight = new InFlight(max);
      let running = 0;
      let most = 0;
      const ended = await Promise.allSettled(
        given.map(({ turns, fails }) =>
          inFlight.run(async () => {
            running += 1;
            most = Math.max(most, running);
            for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
            running -= 1;
            if (fails) throw new Error('failed');
          }),
        ),
      );
      expect(most).toBe(Math.min(most, max));
      expect(ended.map(({ status }) => status === 'rejected')).toEqual(
        given.map(({ fails }) => fails),
      );
    }),
  );
});
