import type { SinkHarness } from '../conformance/sink-suite.ts';
import type { FakeBigQuery } from './bigquery/fake-bigquery.ts';
import { bigqueryHarness } from './bigquery-harness.ts';
import type { TestBigQuery } from './test-bigquery.ts';

/** A BigQuery sink on a dataset of its own in the BigQuery of the tests. */
export function fakeBigqueryHarness(fake: FakeBigQuery): Promise<SinkHarness> {
  return bigqueryHarness(testServerOf(fake));
}

export function testServerOf(fake: FakeBigQuery): TestBigQuery {
  return {
    url: fake.apiEndpoint,
    endpoint: fake.apiEndpoint,
    grpcAddress: '',
    project: 'test',
    dataset: 'lake',
    location: 'US',
    [Symbol.asyncDispose]: async () => undefined,
  };
}
