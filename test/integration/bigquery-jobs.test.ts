import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConfiguredLake } from '../../commands/lakes/lake.ts';
import { configuredLake } from '../../commands/lakes/open-lake.ts';
import { parseConfig } from '../../runtime/config.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import { RequestRecorder } from '../support/request-recorder.ts';

const kmsKeyName = 'projects/p/locations/us/keyRings/r/cryptoKeys/k';
const silent = { onJob: () => undefined, onPace: () => undefined };

let opened: AsyncDisposableStack;
let recorder: RequestRecorder;
let lake: ConfiguredLake;

beforeAll(async () => {
  opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'tributary-jobs-'));
  opened.defer(() => rm(folder, { recursive: true }));
  const fake = opened.use(await FakeBigQuery.start());
  await fake.store.createDataset({ projectId: 'test-1', datasetId: 'lake' });
  recorder = opened.use(await RequestRecorder.start(fake.apiEndpoint));
  const config = parseConfig(
    `source: { url: postgresql://localhost/shop }
log: { type: embedded }
sinks:
  lake:
    type: bigquery
    project: test-1
    dataset: lake
    location: US
    endpoint: ${recorder.url}
    storage_endpoint: ${fake.storageEndpoint}
    kms_key: ${kmsKeyName}
    labels: { team: data }
`,
    { file: join(folder, 'tributary.yaml'), env: {} },
  );
  lake = configuredLake('lake', config);
  const { sink } = lake.openShare(0, silent);
  await sink.open();
  await sink.close();
});
afterAll(() => opened.disposeAsync());

test.each([
  ['check', async () => expect(await lake.check([])).toEqual([])],
  ['status, where the lake is', async () => expect(await lake.checkpoint()).not.toBeNull()],
  ['status, what it costs', async () => expect(await lake.costs()).not.toBeNull()],
  // The stand-in has no catalog to answer from, but it was asked.
  [
    'models, what is there',
    () =>
      lake
        .models()
        .lake.read(['public.t'])
        .catch(() => null),
  ],
])('jobs of %s have the labels, the location and the key of the sink', async (_name, use) => {
  recorder.requests.length = 0;
  await use();
  const jobs = recorder.queryJobs;
  expect(jobs.length).toBeGreaterThan(0);
  for (const { configuration, jobReference } of jobs) {
    expect(jobReference?.location).toBe('US');
    expect(configuration.labels).toEqual({ team: 'data', 'made-by': 'tributary' });
    // BigQuery refuses a key for anything but what only selects.
    const isSelect = /^\s*select\b/.test(configuration.query!.query);
    const key = configuration.query!.destinationEncryptionConfiguration;
    expect(key).toEqual(isSelect ? { kmsKeyName } : undefined);
  }
});
