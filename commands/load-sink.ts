import { compilePatterns } from '../capture/postgres/table-patterns.ts';
import type { Config, SinkConfig } from '../runtime/config.ts';
import { retry } from '../runtime/retry.ts';
import { runSink, type SinkObserver, type SinkPause } from '../sinks/run-sink.ts';
import type { Sink } from '../sinks/sink.ts';
import { openLogReader, openRegistry } from './open-log.ts';
import { isSupervised } from './supervise/child-link.ts';

export interface LoadOptions {
  readonly config: Config;
  readonly settings: SinkConfig;
  readonly sink: Sink;
  readonly pause: SinkPause;
  /** Which of the sink's tables to load; all unless told. */
  readonly wants?: (table: string) => boolean;
  readonly observer: Required<Pick<SinkObserver, 'onRetry'>> & SinkObserver;
  readonly signal: AbortSignal;
}

/** Loads the configured log into a sink until the signal; waits for the log that capture makes. */
export async function loadSink(options: LoadOptions): Promise<void> {
  const { config, settings, signal, observer, wants = () => true } = options;
  await using resources = new AsyncDisposableStack();
  const { first, longest, during } = config.retry;
  const reader = await retry(() => openLogReader(config), {
    firstDelayMs: first,
    longestDelayMs: longest,
    // Under `run` capture tells itself what keeps it from making the log: that is the cause to report.
    giveUpAfterMs: isSupervised() ? Number.POSITIVE_INFINITY : during,
    signal,
    onRetry: ({ error, delayMs }) => observer.onRetry(error, delayMs),
  });
  if (reader === undefined) return;
  const log = resources.adopt(reader, (opened) => opened.close());
  const registry = resources.adopt(await openRegistry(config), (opened) => opened.close());
  const isConfigured = compilePatterns(settings.tables);
  await runSink(
    {
      log,
      registry,
      prefix: config.log.prefix,
      wants: (table) => isConfigured(table) && wants(table),
      limits: {
        batchBytesMax: settings.batch.size,
        batchRowsMax: settings.batch.rows,
        firstRetryMs: first,
        longestRetryMs: longest,
        giveUpAfterMs: during,
      },
      sink: options.sink,
      pause: options.pause,
      observer,
    },
    { signal },
  );
}
