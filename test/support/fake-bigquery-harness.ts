import type { SinkHarness } from '../conformance/sink-suite.ts';
import type { FakeBigQuery } from './bigquery/fake-bigquery.ts';
import type { BigquerySinkOptions } from '../../sinks/bigquery/bigquery-sink.ts';
import { bigqueryHarness } from './bigquery-harness.ts';
import type { TestBigQuery } from './test-bigquery.ts';

/** A BigQuery sink on a dataset of its own in the BigQuery of the tests. */
export function fakeBigqueryHarness(
  fake: FakeBigQuery,
  settings?: Partial<BigquerySinkOptions>,
): Promise<SinkHarness> {
  const server: TestBigQuery = {
    url: fake.apiEndpoint,
    endpoint: fake.apiEndpoint,
    grpcAddress: '',
    project: 'test',
    dataset: 'lake',
    location: 'US',
    [Symbol.asyncDispose]: async () => undefined,
  };
  return bigqueryHarness(server, settings);
}
