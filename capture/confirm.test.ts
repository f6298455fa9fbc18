import fc from 'fast-check';
import { expect, test } from 'vitest';

import { confirmableLsn, Confirmer } from './confirm.ts';

const lsn = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test('a confirmable LSN is below what is durable and the ceiling, unless it was confirmed before', () => {
  fc.assert(
    fc.property(lsn, fc.option(lsn), lsn, (durableLsn, ceilingLsn, confirmedLsn) => {
      const result = confirmableLsn({ durableLsn, ceilingLsn, confirmedLsn });
      expect(result >= confirmedLsn).toBe(true);
      if (result === confirmedLsn) return;
      expect(result <= durableLsn).toBe(true);
      expect(ceilingLsn === null || result <= ceilingLsn).toBe(true);
    }),
  );
});

test('whatever becomes durable and however the ceiling moves, what is confirmed rises and stays covered', () => {
  const step = fc.oneof(
    fc.record({ durable: lsn }),
    fc.record({ ceiling: fc.option(lsn, { nil: null }) }),
  );
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let ceiling: bigint | null = null;
      let durable = 0n;
      const confirmed: bigint[] = [];
      const confirmer = new Confirmer({
        durableLsn: 0n,
        confirmedLsn: 0n,
        ceilingLsn: () => ceiling,
        confirm: (value) => {
          expect(value > (confirmed.at(-1) ?? 0n)).toBe(true);
          expect(value <= durable).toBe(true);
          expect(ceiling === null || value <= ceiling).toBe(true);
          confirmed.push(value);
        },
      });
      for (const next of steps) {
        if ('durable' in next) {
          if (next.durable > durable) durable = next.durable;
          confirmer.durable(next.durable);
        } else {
          ceiling = next.ceiling;
          confirmer.refresh();
        }
      }
      ceiling = null;
      confirmer.refresh();
      expect(confirmed.at(-1) ?? 0n).toBe(durable);
    }),
  );
});
