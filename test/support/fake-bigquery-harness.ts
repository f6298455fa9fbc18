import type { SinkHarness } from '../conformance/sink-suite.ts';
import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import type { FakeBigQuery } from './bigquery/fake-bigquery.ts';
import { bigqueryHarness } from './bigquery-harness.ts';

/** A BigQuery sink on a dataset of its own in the BigQuery of the tests. */
export function fakeBigqueryHarness(fake: FakeBigQuery, mode?: BigQueryMode): Promise<SinkHarness> {
  const server = {
    url: fake.apiEndpoint,
    endpoint: fake.apiEndpoint,
    grpcAddress: fake.storageEndpoint,
    project: 'test',
    dataset: 'lake',
    location: 'US',
    [Symbol.asyncDispose]: async () => undefined,
  };
  return bigqueryHarness(server, mode);
}
