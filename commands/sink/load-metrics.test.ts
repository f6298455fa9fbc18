import { expect, test } from 'vitest';
import { createMetrics } from '../../runtime/metrics.ts';
import { loadMetrics } from './load-metrics.ts';

/** The samples of the metrics whose names begin so, that are not 0. */
async function samplesOf(metrics: ReturnType<typeof createMetrics>, name: string) {
  const lines = (await metrics.render()).split('\n');
  return lines.filter((line) => line.startsWith(name) && !line.endsWith(' 0')).toSorted();
}

const used = { loads: 1, bytesProcessed: 10, bytesBilled: 20 };

test('the wait of a share stands under the limit that decides it, and ends with the share', async () => {
  const metrics = createMetrics();
  const [first, second] = [0, 1].map((share) => loadMetrics(metrics, { sink: 'warehouse', share }));
  first!.observer.onPace({ ...used, spacing: { ms: 1_500, limit: 'least' } });
  second!.observer.onPace({ ...used, spacing: { ms: 4_000, limit: 'changes of a table' } });
  first!.observer.onPace({ ...used, spacing: { ms: 90_000, limit: 'budget' } });
  const spacing = () => samplesOf(metrics, 'tributary_sink_spacing_seconds');
  expect(await spacing()).toEqual([
    'tributary_sink_spacing_seconds{sink="warehouse",share="0",limit="budget"} 90',
    'tributary_sink_spacing_seconds{sink="warehouse",share="1",limit="changes of a table"} 4',
  ]);
  first![Symbol.dispose]();
  expect(await spacing()).toEqual([
    'tributary_sink_spacing_seconds{sink="warehouse",share="1",limit="changes of a table"} 4',
  ]);
});

test('a share without a pace shows none', async () => {
  const metrics = createMetrics();
  loadMetrics(metrics, { sink: 'lake', share: 0 })[Symbol.dispose]();
  expect(await metrics.render()).not.toContain('tributary_sink_spacing_seconds{');
});

test('jobs are counted by kind and result, and what failed ones are billed is there too', async () => {
  const metrics = createMetrics();
  const { observer } = loadMetrics(metrics, { sink: 'warehouse', share: 0 });
  const bytes = { bytesProcessed: 1_000, bytesBilled: 2_000 };
  observer.onJob({ kind: 'query', isFailed: false, ...bytes });
  observer.onJob({ kind: 'query', isFailed: true, ...bytes });
  observer.onJob({ kind: 'load', isFailed: false, bytesProcessed: 0, bytesBilled: 0 });
  const samples = [
    ...(await samplesOf(metrics, 'tributary_sink_jobs')),
    ...(await samplesOf(metrics, 'tributary_sink_billed')),
    ...(await samplesOf(metrics, 'tributary_sink_processed')),
  ];
  expect(samples).toEqual([
    'tributary_sink_jobs_total{sink="warehouse",kind="load",result="done"} 1',
    'tributary_sink_jobs_total{sink="warehouse",kind="query",result="done"} 1',
    'tributary_sink_jobs_total{sink="warehouse",kind="query",result="failed"} 1',
    'tributary_sink_billed_bytes_total{sink="warehouse"} 4000',
    'tributary_sink_processed_bytes_total{sink="warehouse"} 2000',
  ]);
});
