import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  type BatchUse,
  defaultSpacing,
  loadsPerDayMax,
  spacingAfter,
  type SpacingOptions,
  startSpacing,
  useSpacing,
} from './spacing.ts';

const hour = 3_600_000;
const day = 24 * hour;
const options: SpacingOptions = { ...defaultSpacing, shares: 1 };

interface Load {
  /** Loads of each batch, and how many a batch may have at most. */
  readonly loads: number;
  readonly scanBytes: number;
  readonly durationMs: number;
  readonly batches: number;
}

/** Runs batches one after the other, each after the wait that it is told. */
function simulate(given: SpacingOptions, phases: readonly Load[], untilMs: number) {
  const done: (BatchUse & { readonly atMs: number; readonly waitMs: number })[] = [];
  let state = startSpacing(given, 0);
  let atMs = 0;
  let phase = 0;
  while (atMs < untilMs) {
    const { loads, scanBytes, durationMs, batches } = phases[phase % phases.length]!;
    for (let batch = 0; batch < batches && atMs < untilMs; batch += 1) {
      atMs += durationMs;
      state = useSpacing(given, state, { loads, scanBytes, atMs });
      const { ms } = spacingAfter(given, state, { loads, scanBytes });
      done.push({ loads, scanBytes, atMs, waitMs: ms });
      atMs += ms;
    }
    phase += 1;
  }
  return done;
}

const loadPhase = fc.record({
  loads: fc.nat(240),
  scanBytes: fc.nat(1_000_000_000),
  durationMs: fc.integer({ min: 1, max: 60_000 }),
  batches: fc.integer({ min: 1, max: 2_000 }),
});

/** The most that any window of this length has. */
function mostWithin(done: readonly { atMs: number; amount: number }[], windowMs: number): number {
  let [first, sum, most] = [0, 0, 0];
  for (const { atMs, amount } of done) {
    sum += amount;
    while ((done[first]?.atMs ?? atMs) <= atMs - windowMs) sum -= done[first++]?.amount ?? 0;
    most = Math.max(most, sum);
  }
  return most;
}

it('no day of any history has more loads than a project may make', () => {
  expect.hasAssertions();
  const shares = fc.integer({ min: 1, max: 8 });
  fc.assert(
    fc.property(fc.array(loadPhase, { minLength: 1, maxLength: 6 }), shares, (phases, count) => {
      // Even where the longest spacing is short: quotas do not ask.
      const given = { ...options, spacingMsMax: 10_000, shares: count };
      const done = simulate(given, phases, 2 * day).map(({ atMs, loads }) => ({
        atMs,
        amount: loads,
      }));
      expect(mostWithin(done, day) * count).toBeLessThanOrEqual(loadsPerDayMax);
    }),
    { numRuns: 20 },
  );
});

it('over a day the budget is kept, wherever the longest spacing can keep it', () => {
  expect.hasAssertions();
  const perHour = 20e9;
  const given = { ...options, scanBytesPerHourMax: perHour };
  fc.assert(
    fc.property(fc.array(loadPhase, { minLength: 1, maxLength: 6 }), (phases) => {
      const done = simulate(given, phases, day);
      const total = done.reduce((sum, { scanBytes }) => sum + scanBytes, 0);
      const last = done.at(-1)?.scanBytes ?? 0;
      expect(total - last).toBeLessThanOrEqual(25 * perHour);
    }),
    { numRuns: 20 },
  );
});

it('the spacing rises under load, falls again with it, and says what decides', () => {
  const given = { ...options, scanBytesPerHourMax: 60e9 };
  const big = { loads: 40, scanBytes: 10e9 };
  const small = { loads: 1, scanBytes: 1e6 };
  let state = startSpacing(given, 0);
  let atMs = 0;
  const run = (use: BatchUse) => {
    state = useSpacing(given, state, { ...use, atMs });
    const spacing = spacingAfter(given, state, use);
    atMs += spacing.ms;
    return spacing;
  };
  for (let batch = 0; batch < 20; batch += 1) run(big);
  expect(run(big)).toEqual({ ms: expect.closeTo(600_000, -3) as number, limit: 'budget' });
  for (let batch = 0; batch < 600; batch += 1) run(small);
  expect(run(small)).toEqual({ ms: 2_000, limit: 'changes of a table' });
  expect(spacingAfter(given, { ...state, scanBytes: -60e12 }, small).limit).toBe('longest');
  expect(spacingAfter(given, { ...state, loads: -1_000 }, small).limit).toBe('loads a day');
  expect(spacingAfter({ ...given, spacingMsMin: 5_000 }, state, small)).toEqual({
    ms: 5_000,
    limit: 'least',
  });
});

it('a sink that starts anew knows of the loads of the last day', () => {
  const use = { loads: 40, scanBytes: 0 };
  const state = useSpacing(options, startSpacing(options, 0, 90_000), { ...use, atMs: 0 });
  const { ms, limit } = spacingAfter(options, state, use);
  expect([limit, ms > hour]).toEqual(['loads a day', true]);
});
