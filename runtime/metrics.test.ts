import { expect, test } from 'vitest';
import { createMetrics, metricDefinitions, serveMetrics } from './metrics.ts';

test('every metric is named after the program, in lower case, and ends in its unit', () => {
  for (const { name, type } of Object.values(metricDefinitions)) {
    expect(name).toMatch(
      type === 'counter'
        ? /^tributary_[a-z_]+_total$/
        : /^tributary_[a-z_]+_(bytes|seconds|tables|shares)$/,
    );
  }
});

test('figures are served on loopback until the server is disposed', async () => {
  const metrics = createMetrics();
  let isHealthy = true;
  const server = await serveMetrics({ metrics, port: 0, isHealthy: () => isHealthy });
  const url = `http://127.0.0.1:${server.port}`;
  metrics.add('sinkRecords', 3, { sink: 'lake' });
  metrics.set('captureConfirmedLag', 4_096);
  const text = await (await fetch(`${url}/metrics`)).text();
  expect(text).toContain('tributary_sink_records_total{sink="lake"} 3');
  expect(text).toContain('tributary_capture_confirmed_lag_bytes 4096');
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  isHealthy = false;
  expect((await fetch(`${url}/healthz`)).status).toBe(503);
  expect((await fetch(`${url}/`)).status).toBe(404);
  await server[Symbol.asyncDispose]();
  await expect(fetch(url)).rejects.toThrow('fetch failed');
});

test('a port that is taken is a fault of the configuration', async () => {
  await using server = await serveMetrics({
    metrics: createMetrics(),
    port: 0,
    isHealthy: () => true,
  });
  const again = serveMetrics({
    metrics: createMetrics(),
    port: server.port,
    isHealthy: () => true,
  });
  await expect(again).rejects.toMatchObject({ kind: 'config-invalid' });
});
