/** How the sink writes; `mode` of its configuration. */
export type BigQueryMode = 'batch' | 'stream' | 'bigquery-cdc';

/** IAM permissions by what they are granted on. */
export interface Permissions {
  /** On the project that jobs run in and are billed to. */
  readonly project: readonly string[];
  /** On the dataset that everything is in. */
  readonly dataset: readonly string[];
}

/**
 * What reading a lake takes: its catalog and its rows.
 * https://cloud.google.com/bigquery/docs/access-control#bq-permissions
 */
const read = [
  'bigquery.datasets.get',
  'bigquery.tables.get',
  'bigquery.tables.getData',
  'bigquery.tables.list',
] as const;

/** Making, changing and dropping tables and views (staging tables, replaced ones), and changing rows by jobs or by the Storage Write API. */
const write = [
  'bigquery.tables.create',
  'bigquery.tables.delete',
  'bigquery.tables.update',
  'bigquery.tables.updateData',
] as const;

/** Who runs a job may look it up and cancel it: that takes nothing more. */
const project = ['bigquery.jobs.create'] as const;

const sorted = (...lists: readonly (readonly string[])[]): readonly string[] =>
  lists.flat().toSorted();

/**
 * What the sink needs, and nothing more. The lists are those of `deploy/terraform/permissions.tf`.
 * Nothing is ever granted to anybody by the sink.
 */
export const sinkPermissions: Readonly<Record<BigQueryMode, Permissions>> = {
  batch: { project, dataset: sorted(read, write) },
  stream: { project, dataset: sorted(read, write) },
  'bigquery-cdc': { project, dataset: sorted(read, write) },
};

/** What `status` and `verify` need. */
export const readerPermissions: Permissions = { project, dataset: sorted(read) };

/** What building the models needs: a reader of the lake, and this on the datasets of the models. */
export const modelsPermissions: Permissions = {
  project,
  dataset: sorted(read, write),
};
