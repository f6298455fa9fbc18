import { PipelineError } from '../../runtime/errors.ts';

/** Text of a query is at most 1 MB. https://cloud.google.com/bigquery/quotas#query_jobs */
export const scriptBytesMax = 1_000_000;

/** Tables that one transaction may change. https://cloud.google.com/bigquery/docs/transactions#limitations */
const mutatedTablesMax = 100;
/** Checkpoint, commits, watermarks, dead letters, settled rows and schema history. */
const sharedTables = 6;
const tablesPerSource = 2;
/** Source tables of one share that may have changes in one transaction. */
export const sourceTablesMax = Math.floor((mutatedTablesMax - sharedTables) / tablesPerSource);
/** Tables are dealt out by a hash, so shares are not of one size: the largest has to fit. */
const sourceTablesMean = 25;

/** Shares (`sinks.<name>.shares`) that a lake of so many source tables needs. */
export function sharesNeeded(tableCount: number): number {
  return tableCount <= sourceTablesMax ? 1 : Math.ceil(tableCount / sourceTablesMean);
}

/** Throws `sink-refused` for more source tables than one transaction may change. */
export function refuseManyTables(
  changed: number,
  { known, shares }: { readonly known: number; readonly shares: number },
): void {
  if (changed <= sourceTablesMax) return;
  const needed = Math.max(shares + 1, sharesNeeded(known * shares));
  throw new PipelineError(
    'sink-refused',
    `${changed} tables have changes for one transaction, and BigQuery allows ${mutatedTablesMax} tables: ${sourceTablesMax} of the source's, each of which has two`,
    {
      hint: `load into a new dataset with sinks.<name>.shares: ${needed}`,
      context: { tableCount: changed, sharesNeeded: needed },
    },
  );
}

/** Throws `sink-refused` for statements that BigQuery would not take as one script. */
export function refuseLongScript(bytes: number, cutCount: number): void {
  if (bytes <= scriptBytesMax) return;
  const why = cutCount > 1 ? `, as one transaction of the source takes ${cutCount} batches` : '';
  throw new PipelineError(
    'sink-refused',
    `the statements that publish a batch have ${bytes} bytes, and BigQuery takes ${scriptBytesMax}${why}`,
    {
      hint:
        cutCount > 1
          ? 'raise sinks.<name>.batch.rows and sinks.<name>.batch.size, so that a large transaction takes fewer batches'
          : 'load into a new dataset with more sinks.<name>.shares, so that fewer tables share a transaction',
      context: { bytes, cutCount },
    },
  );
}
