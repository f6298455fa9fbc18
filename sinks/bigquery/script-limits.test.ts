import { expect, it } from 'vitest';
import { shareOf } from '../shares.ts';
import {
  refuseLongScript,
  refuseManyTables,
  scriptBytesMax,
  sharesNeeded,
  sourceTablesMax,
} from './script-limits.ts';

it('with the shares that are needed no share has more tables than a transaction may change', () => {
  for (const count of [1, 47, 48, 70, 120, 300, 1_000, 5_000]) {
    const shares = sharesNeeded(count);
    const sizes = new Map<number, number>();
    for (let table = 0; table < count; table += 1) {
      const share = shareOf(`public.service_${table}_main`, shares);
      sizes.set(share, (sizes.get(share) ?? 0) + 1);
    }
    expect(Math.max(...sizes.values())).toBeLessThanOrEqual(sourceTablesMax);
  }
});

it('a transaction of too many tables is refused with their number and the shares to configure', () => {
  refuseManyTables(sourceTablesMax, { known: 400, shares: 1 });
  expect(() => refuseManyTables(60, { known: 70, shares: 1 })).toThrow(
    expect.objectContaining({
      kind: 'sink-refused',
      message: expect.stringContaining('60 tables') as string,
      hint: expect.stringContaining('shares: 3') as string,
    }),
  );
});

it('a script that is too long is refused with what to change', () => {
  refuseLongScript(scriptBytesMax, 9);
  const refusal = (cuts: number) => () => refuseLongScript(scriptBytesMax + 1, cuts);
  expect(refusal(300)).toThrow(
    expect.objectContaining({
      kind: 'sink-refused',
      hint: expect.stringContaining('batch.rows') as string,
    }),
  );
  expect(refusal(1)).toThrow(
    expect.objectContaining({ hint: expect.stringContaining('shares') as string }),
  );
});
