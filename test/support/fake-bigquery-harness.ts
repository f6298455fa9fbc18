import type { BigquerySinkOptions } from '../../sinks/bigquery/bigquery-sink.ts';
import type { FakeBigQuery } from './bigquery/fake-bigquery.ts';
import { type BigqueryHarness, bigqueryHarness } from './bigquery-harness.ts';
import type { TestBigQuery } from './test-bigquery.ts';

/** A BigQuery sink on a dataset of its own in the BigQuery of the tests. */
export function fakeBigqueryHarness(
  fake: FakeBigQuery,
  settingsOf?: () => Partial<BigquerySinkOptions>,
): Promise<BigqueryHarness> {
  return bigqueryHarness(testServerOf(fake), settingsOf);
}

export function testServerOf(fake: FakeBigQuery): TestBigQuery {
  return {
    url: fake.apiEndpoint,
    endpoint: fake.apiEndpoint,
    grpcAddress: fake.storageEndpoint,
    project: 'test',
    dataset: 'lake',
    location: 'US',
    [Symbol.asyncDispose]: async () => undefined,
  };
}
