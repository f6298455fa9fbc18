import { randomBytes } from 'node:crypto';
import { type BigQueryServer, post } from './local-bigquery/rest.ts';
import type { TestBigQuery } from './test-bigquery.ts';

/** Whatever a killed run leaves behind is gone after this. */
const tableLifetimeMs = 6 * 3_600_000;

/** Makes an empty dataset. */
export async function createDataset(
  server: BigQueryServer,
  dataset: string,
  location: string,
): Promise<void> {
  await post(server, 'datasets', {
    datasetReference: { projectId: server.project, datasetId: dataset },
    location,
    defaultTableExpirationMs: String(tableLifetimeMs),
    labels: { 'made-by': 'tributary-test' },
  });
}

/** Makes an empty dataset that is dropped with the server's own; its name. */
export async function createDatasetBeside(server: TestBigQuery): Promise<string> {
  const dataset = `${server.dataset}_${randomBytes(6).toString('hex')}`;
  await createDataset(server, dataset, server.location);
  return dataset;
}
