import type { BigQueryServer } from './local-bigquery/rest.ts';

/** A BigQuery for tests, with one empty dataset; other datasets are to begin with its name. */
export interface TestBigQuery extends BigQueryServer, AsyncDisposable {
  /** Where a sink's `endpoint` and dbt's `api_endpoint` go to; undefined: the service, with its credentials. */
  readonly endpoint: string | undefined;
  /** Host and port of the Storage Write and Read APIs; without TLS where there is an endpoint. */
  readonly grpcAddress: string;
  readonly dataset: string;
  readonly location: string;
}
