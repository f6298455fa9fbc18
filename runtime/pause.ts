import { setTimeout as sleep } from 'node:timers/promises';

/** Waits; an abort ends the wait early without an error. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
