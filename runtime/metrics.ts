import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Registry } from 'prom-client';
import { PipelineError } from './errors.ts';

interface MetricDefinition {
  readonly type: 'counter' | 'gauge';
  readonly name: `tributary_${string}`;
  readonly help: string;
  readonly labels: readonly string[];
}

/** Every metric of the program: its name ends in its unit. */
export const metricDefinitions = {
  captureRecords: {
    type: 'counter',
    name: 'tributary_capture_records_total',
    help: 'Records written to the log.',
    labels: [],
  },
  captureBytes: {
    type: 'counter',
    name: 'tributary_capture_log_bytes_total',
    help: 'Bytes written to the log.',
    labels: [],
  },
  captureConfirmedLag: {
    type: 'gauge',
    name: 'tributary_capture_confirmed_lag_bytes',
    help: 'Write-ahead log that is durable in the log but not confirmed to PostgreSQL.',
    labels: [],
  },
  captureLag: {
    type: 'gauge',
    name: 'tributary_capture_commit_to_log_seconds',
    help: 'Age of the newest source commit when it became durable in the log.',
    labels: [],
  },
  captureSpool: {
    type: 'gauge',
    name: 'tributary_capture_spool_bytes',
    help: 'Transactions in progress at the source that wait on disk.',
    labels: [],
  },
  captureParked: {
    type: 'gauge',
    name: 'tributary_capture_parked_tables',
    help: 'Tables that are held back because the registry does not take their schema.',
    labels: [],
  },
  captureRegistryWait: {
    type: 'gauge',
    name: 'tributary_capture_registry_wait_seconds',
    help: 'How long a new schema, and the stream with it, has waited for the registry; 0 when none waits.',
    labels: [],
  },
  registryAlerts: {
    type: 'counter',
    name: 'tributary_registry_alerts_total',
    help: 'Schemas registered against the rule of their subject.',
    labels: [],
  },
  sinkRecords: {
    type: 'counter',
    name: 'tributary_sink_records_total',
    help: 'Records applied to the lake.',
    labels: ['sink'],
  },
  sinkBatches: {
    type: 'counter',
    name: 'tributary_sink_batches_total',
    help: 'Transactions committed in the lake.',
    labels: ['sink'],
  },
  sinkLag: {
    type: 'gauge',
    name: 'tributary_sink_commit_to_lake_seconds',
    help: 'Age of the newest source commit when it became visible in the lake.',
    labels: ['sink'],
  },
  sinkBehind: {
    type: 'gauge',
    name: 'tributary_sink_behind_log_bytes',
    help: "Write-ahead log between the lake and the log's newest watermark.",
    labels: ['sink'],
  },
  sinkSpacing: {
    type: 'gauge',
    name: 'tributary_sink_spacing_seconds',
    help: 'How long the next batch of a share waits, under the limit that decides it; 0 under the others.',
    labels: ['sink', 'share', 'limit'],
  },
  sinkJobs: {
    type: 'counter',
    name: 'tributary_sink_jobs_total',
    help: 'Jobs of the warehouse that ended: loads, and queries, which are statements and transactions.',
    labels: ['sink', 'kind', 'result'],
  },
  sinkProcessedBytes: {
    type: 'counter',
    name: 'tributary_sink_processed_bytes_total',
    help: 'Bytes that statements of the warehouse scanned.',
    labels: ['sink'],
  },
  sinkBilledBytes: {
    type: 'counter',
    name: 'tributary_sink_billed_bytes_total',
    help: 'Bytes that statements of the warehouse are billed for, failed ones included.',
    labels: ['sink'],
  },
  sinkShares: {
    type: 'gauge',
    name: 'tributary_sink_shares',
    help: 'Shares of the lake that this process loads; 0 = it stands by.',
    labels: ['sink'],
  },
  sinkTakeovers: {
    type: 'counter',
    name: 'tributary_sink_takeovers_total',
    help: 'Other processes of the sink that this one saw die or fall silent.',
    labels: ['sink'],
  },
  retries: {
    type: 'counter',
    name: 'tributary_retries_total',
    help: 'New tries after a passing failure, by the kind of its error.',
    labels: ['role', 'kind'],
  },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof metricDefinitions;
export type MetricLabels = Readonly<Record<string, string>>;

export interface Metrics {
  /** Adds to a counter. */
  add(name: MetricName, amount: number, labels?: MetricLabels): void;
  /** Sets a gauge. */
  set(name: MetricName, value: number, labels?: MetricLabels): void;
  /** The text that Prometheus reads. */
  render(): Promise<string>;
}

/** Figures of one process. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const counters = new Map<MetricName, Counter>();
  const gauges = new Map<MetricName, Gauge>();
  for (const [key, { type, name, help, labels }] of Object.entries(metricDefinitions)) {
    const options = { name, help, labelNames: labels, registers: [registry] };
    if (type === 'counter') counters.set(key as MetricName, new Counter(options));
    else gauges.set(key as MetricName, new Gauge(options));
  }
  return {
    add: (name, amount, labels = {}) => counters.get(name)?.inc(labels, amount),
    set: (name, value, labels = {}) => gauges.get(name)?.set(labels, value),
    render: () => registry.metrics(),
  };
}

export interface MetricsServer extends AsyncDisposable {
  readonly port: number;
}

export interface MetricsServerOptions {
  readonly metrics: Metrics;
  /** 0 = any free port. */
  readonly port: number;
  /** False makes /healthz answer 503. */
  readonly isHealthy: () => boolean;
}

/** Serves /metrics and /healthz on the loopback address. Throws `config-invalid` when the port is taken. */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const { metrics, port, isHealthy } = options;
  const server = createServer((request, response) => {
    if (request.url === '/healthz') {
      const isOk = isHealthy();
      response
        .writeHead(isOk ? 200 : 503, { 'content-type': 'text/plain' })
        .end(isOk ? 'ok\n' : 'failing\n');
    } else if (request.url === '/metrics') {
      metrics.render().then(
        (text) =>
          response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text),
        () => response.writeHead(500).end(),
      );
    } else {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('see /metrics and /healthz\n');
    }
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, '127.0.0.1', resolve);
  await promise.catch((cause: unknown) => {
    throw new PipelineError(
      'config-invalid',
      `metrics cannot be served on port ${port} of 127.0.0.1`,
      {
        hint: 'set another metrics.port',
        cause,
      },
    );
  });
  server.unref();
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
