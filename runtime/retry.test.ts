import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorPolicies, PipelineError, type ErrorKind } from './errors.ts';
import { backoffDelayMs, retry } from './retry.ts';

const quick = {
  firstDelayMs: 1,
  longestDelayMs: 2,
  giveUpAfterMs: 60_000,
  signal: new AbortController().signal,
};
const passing = () => new PipelineError('source-unreachable', 'no answer');

test('a passing failure is tried again until it succeeds', async () => {
  let attempts = 0;
  const told: number[] = [];
  const result = await retry(
    async () => {
      attempts += 1;
      if (attempts < 4) throw passing();
      return 'done';
    },
    { ...quick, onRetry: ({ attempt }) => told.push(attempt) },
  );
  expect({ result, attempts, told }).toEqual({ result: 'done', attempts: 4, told: [1, 2, 3] });
});

test.each(Object.keys(errorPolicies) as ErrorKind[])(
  '%s is tried again only if its policy says so',
  async (kind) => {
    let attempts = 0;
    const attempt = async () => {
      attempts += 1;
      if (attempts === 1) throw new PipelineError(kind, 'once');
    };
    const isRetried = errorPolicies[kind].retry === 'backoff';
    const ends = await Promise.allSettled([retry(attempt, quick)]);
    expect(ends[0].status).toBe(isRetried ? 'fulfilled' : 'rejected');
    expect(attempts).toBe(isRetried ? 2 : 1);
  },
);

test('an unknown error is never tried again', async () => {
  await expect(retry(() => Promise.reject(new TypeError('defect')), quick)).rejects.toThrow(
    'defect',
  );
});

test('a failure that outlasts its time is thrown', async () => {
  let nowMs = 0;
  let attempts = 0;
  const attempt = () => {
    attempts += 1;
    nowMs += 1;
    return Promise.reject(passing());
  };
  await expect(
    retry(attempt, { ...quick, giveUpAfterMs: 10, now: () => nowMs, random: () => 1 }),
  ).rejects.toThrow('no answer');
  expect(attempts).toBe(10);
});

test('no time at all means one attempt', async () => {
  let attempts = 0;
  const attempt = () => {
    attempts += 1;
    return Promise.reject(passing());
  };
  await expect(retry(attempt, { ...quick, giveUpAfterMs: 0 })).rejects.toThrow('no answer');
  expect(attempts).toBe(1);
});

test('an attempt that ran for long had recovered: its failure is the first of a new row', async () => {
  let nowMs = 0;
  const told: number[] = [];
  const runsMs = [1, 1, 1_000, 1];
  const attempt = () => {
    nowMs += runsMs[told.length] ?? 0;
    return told.length < 4 ? Promise.reject(passing()) : Promise.resolve();
  };
  const options = { ...quick, giveUpAfterMs: 100, now: () => nowMs };
  await retry(attempt, { ...options, onRetry: ({ attempt: number }) => told.push(number) });
  expect(told).toEqual([1, 2, 1, 2]);
});

test('an abort ends the pause at once, without an error', async () => {
  const controller = new AbortController();
  const options = {
    ...quick,
    firstDelayMs: 60_000,
    longestDelayMs: 60_000,
    giveUpAfterMs: 600_000,
    signal: controller.signal,
  };
  const result = await retry(() => Promise.reject(passing()), {
    ...options,
    onRetry: () => controller.abort(),
  });
  expect(result).toBeUndefined();
});

test('pauses grow to the limit and never pass it', () => {
  fc.assert(
    fc.property(
      fc.nat(2_000),
      fc.integer({ min: 1, max: 1_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (failures, first, random) => {
        const delay = backoffDelayMs(failures, {
          firstDelayMs: first,
          longestDelayMs: 30_000,
          random: () => random,
        });
        expect(delay).toBeLessThanOrEqual(30_000);
        expect(delay).toBeGreaterThanOrEqual(Math.floor(first / 2));
      },
    ),
  );
});
