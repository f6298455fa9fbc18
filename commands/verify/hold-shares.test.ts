import { expect, it } from 'vitest';
import { cutAfter, positionZero } from '../../schemas/position.ts';
import { Stand } from './hold-shares.ts';

const forEver = new Promise<void>(() => {});

it('a share stands at the position until it is let go of, and goes on before only when it is told where to', async () => {
  const stand = new Stand(1);
  const letGo = new AbortController();
  const share = stand.pauseOf(0, letGo.signal);
  let stood = 0;
  const loading = (async () => {
    // As run-sink does: whoever stands where it is to stand is asked to stand again at once.
    while (!letGo.signal.aborted) {
      await share.run(share.requested()?.until ?? positionZero);
      stood += 1;
    }
  })();
  expect(await stand.all(forEver, positionZero)).toBe(positionZero);
  const until = cutAfter(1, 7n);
  stand.go(until);
  expect(await stand.all(forEver, until)).toBe(until);
  expect(stood).toBe(1);
  letGo.abort();
  await loading;
  expect(stood).toBe(2);
});
