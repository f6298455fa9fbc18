import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import type { FakeBigQuery } from './bigquery/fake-bigquery.ts';
import { type BigqueryHarness, bigqueryHarness } from './bigquery-harness.ts';

/** A BigQuery sink on a dataset of its own in the BigQuery of the tests. */
export function fakeBigqueryHarness(
  fake: FakeBigQuery,
  modeOf?: () => BigQueryMode,
): Promise<BigqueryHarness> {
  const server = {
    url: fake.apiEndpoint,
    endpoint: fake.apiEndpoint,
    grpcAddress: fake.storageEndpoint,
    project: 'test',
    dataset: 'lake',
    location: 'US',
    [Symbol.asyncDispose]: async () => undefined,
  };
  return bigqueryHarness(server, modeOf);
}
