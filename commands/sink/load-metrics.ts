import type { Metrics } from '../../runtime/metrics.ts';
import { type Spacing, spacingLimits } from '../../sinks/bigquery/spacing.ts';
import type { LoadObserver } from '../lakes/lake.ts';

/** What a share's loading takes, as metrics; disposed when this process no longer loads the share. */
export interface LoadMetrics extends Disposable {
  readonly observer: LoadObserver;
}

/** Counts what loading a share takes. Of the limits of its pace only the one that decides is not 0. */
export function loadMetrics(
  metrics: Metrics,
  { sink, share }: { readonly sink: string; readonly share: number },
): LoadMetrics {
  let isShown = false;
  const showSpacing = (spacing: Spacing) => {
    isShown = true;
    for (const limit of spacingLimits) {
      const seconds = limit === spacing.limit ? spacing.ms / 1_000 : 0;
      metrics.set('sinkSpacing', seconds, { sink, share: String(share), limit });
    }
  };
  return {
    observer: {
      onJob({ kind, isFailed, bytesProcessed, bytesBilled }) {
        metrics.add('sinkJobs', 1, { sink, kind, result: isFailed ? 'failed' : 'done' });
        metrics.add('sinkProcessedBytes', bytesProcessed, { sink });
        metrics.add('sinkBilledBytes', bytesBilled, { sink });
      },
      onPace: ({ spacing }) => showSpacing(spacing),
    },
    [Symbol.dispose]() {
      if (isShown) showSpacing({ ms: 0, limit: 'least' });
    },
  };
}
