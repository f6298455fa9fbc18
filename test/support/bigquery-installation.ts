import { writeFile } from 'node:fs/promises';
import { type LakeReader, openLakeReader } from '../../sinks/bigquery/read-lake.ts';
import { Installation } from './installation.ts';
import type { TestPostgres } from './postgres.ts';
import type { TestBigQuery } from './test-bigquery.ts';
import { createDatasetBeside } from './test-dataset.ts';

export interface BigqueryInstallation extends AsyncDisposable {
  readonly shop: Installation;
  /** A look into the dataset that the sink `warehouse` loads. */
  readonly warehouse: LakeReader;
  readonly dataset: string;
}

/** An installation with a lake in DuckDB and one in BigQuery, loaded from one log. */
export async function createBigqueryInstallation(
  server: TestBigQuery,
  postgres: TestPostgres,
  options: { readonly database: string; readonly sql: string; readonly settings?: string },
): Promise<BigqueryInstallation> {
  const { project, endpoint, location, grpcAddress } = server;
  const dataset = await createDatasetBeside(server);
  const shop = await Installation.create(postgres, options.database, options.sql);
  const addresses = [
    ...(endpoint === undefined ? [] : [`endpoint: "${endpoint}"`]),
    ...(endpoint === undefined || grpcAddress === '' ? [] : [`storage_endpoint: "${grpcAddress}"`]),
  ].join(', ');
  await writeFile(
    shop.configFile,
    `
source: { url: "\${DATABASE_URL}", slot: ${options.database}, tables: ["public.*"] }
log: { type: embedded, path: ./log, prefix: app }
sinks:
  lake: { type: duckdb, path: ./lake.duckdb }
  warehouse: { type: bigquery, project: ${project}, dataset: ${dataset}, location: ${location}, ${addresses}, ${options.settings ?? 'mode: batch'} }
capture: { spool: ./spool }
retry: { first: 250 ms, longest: 2 s }
`,
  );
  const warehouse = openLakeReader({ project, dataset, location, endpoint });
  return { shop, warehouse, dataset, [Symbol.asyncDispose]: () => shop[Symbol.asyncDispose]() };
}
