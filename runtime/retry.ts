import { PipelineError } from './errors.ts';
import { pause } from './pause.ts';

export interface RetryOptions {
  /** Pause before the first new try; doubles from try to try. */
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** A failure that lasts longer than this is thrown. */
  readonly giveUpAfterMs: number;
  readonly signal: AbortSignal;
  /** Told before each pause. */
  readonly onRetry?: (failure: RetriedFailure) => void;
  /** Milliseconds that never run backwards, and a number from 0 to 1; replaced in tests. */
  readonly now?: () => number;
  readonly random?: () => number;
}

export interface RetriedFailure {
  readonly error: PipelineError;
  /** 1 for the first new try. */
  readonly attempt: number;
  readonly delayMs: number;
}

/**
 * Runs `attempt` until it succeeds. Only errors whose policy says 'backoff' are tried again; all others,
 * unknown ones included, are thrown at once. An attempt that ran longer than the longest pause had
 * recovered: the count and the clock begin anew. An abort during a pause resolves to undefined.
 */
export async function retry<T>(
  attempt: () => Promise<T>,
  options: RetryOptions,
): Promise<T | undefined> {
  const {
    longestDelayMs,
    giveUpAfterMs,
    signal,
    onRetry,
    now = performance.now.bind(performance),
  } = options;
  let failures = 0;
  let failingSinceMs = 0;
  while (!signal.aborted) {
    const startedMs = now();
    try {
      return await attempt();
    } catch (error) {
      if (!isPassing(error)) throw error;
      const failedMs = now();
      if (failures === 0 || failedMs - startedMs > longestDelayMs) {
        failures = 0;
        failingSinceMs = failedMs;
      }
      const delayMs = backoffDelayMs(failures, options);
      if (failedMs + delayMs - failingSinceMs > giveUpAfterMs) throw error;
      failures += 1;
      onRetry?.({ error, attempt: failures, delayMs });
      await pause(delayMs, signal);
    }
  }
  return undefined;
}

/** True for an error that time may mend. */
function isPassing(error: unknown): error is PipelineError {
  return error instanceof PipelineError && error.policy.retry === 'backoff';
}

/** The pause after so many failures: doubled each time up to the limit, then 50 to 100 % of it. */
export function backoffDelayMs(
  failures: number,
  options: Pick<RetryOptions, 'firstDelayMs' | 'longestDelayMs' | 'random'>,
): number {
  const { firstDelayMs, longestDelayMs, random = Math.random } = options;
  const doubled = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(failures, 52));
  // Half of it at random, so that processes that failed together do not come back together.
  return Math.round(doubled * (0.5 + random() / 2));
}
