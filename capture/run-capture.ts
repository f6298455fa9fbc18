import { retry } from '../runtime/retry.ts';
import { formatLsn } from '../schemas/lsn.ts';
import { openCapture, type OpenCapture } from './open-capture.ts';
import { captureLimitDefaults, type CaptureOptions } from './options.ts';

/**
 * Streams the committed changes of the published tables into the log until the signal aborts: reads the
 * slot, appends records, then watermark and progress, then confirms to PostgreSQL. Resumes where the log
 * ends; reconnects by itself after errors that pass. Throws the PipelineError that ended it for good.
 */
export async function runCapture(
  options: CaptureOptions,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const limits = { ...captureLimitDefaults, ...options.limits };
  await retry(() => captureUntilBroken(options, signal), {
    firstDelayMs: limits.reconnectDelayMs,
    longestDelayMs: limits.reconnectDelayMsMax,
    giveUpAfterMs: limits.giveUpAfterMs,
    signal,
    onRetry: ({ error, attempt, delayMs }) => {
      options.logger.warn(`${error.message}; trying again in ${delayMs} ms (${error.hint})`);
      options.observe?.({ type: 'reconnecting', kind: error.kind, attempt, delayMs });
    },
  });
}

/** One connection's life: resolves when the signal aborts, throws what broke it. */
async function captureUntilBroken(options: CaptureOptions, signal: AbortSignal): Promise<void> {
  await using capture = await openCapture(options, signal);
  capture.start();
  options.logger.info(`streaming from LSN ${formatLsn(capture.startLsn)}`);
  options.observe?.({ type: 'streaming', lsn: capture.startLsn });
  await Promise.race([capture.broken, aborted(signal)]);
  await drain(capture);
}

/** What was received completely becomes durable and is confirmed. */
async function drain(capture: OpenCapture): Promise<void> {
  await Promise.race([capture.drain(), capture.broken]);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
