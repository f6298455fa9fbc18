import { PipelineError } from '../../runtime/errors.ts';
import { tableName, type TableVersion } from '../../schemas/table-schema.ts';
import type { LakeEngine } from '../lake/plan-evolution.ts';
import { defaultPolicy, policedType, type PolicyOf } from './column-policy.ts';
import { datasetNames, widenedType } from './layout.ts';
import { missingConstant } from './missing-value.ts';

/** How BigQuery keeps tables, all in one dataset. */
export function bigqueryEngine(
  dataset: string,
  policyOf: PolicyOf = () => defaultPolicy,
): LakeEngine {
  return {
    name: 'BigQuery',
    namesOf: (table) => datasetNames(dataset, table),
    typeOf: (type, place) => policedType(type, place, policyOf),
    widenedType,
    missingConstant,
    refuseNames,
  };
}

const columnLengthMax = 300;
/** Tables may have 1,024 bytes of UTF-8; ours add `__changes`. */
const tableBytesMax = 1_000;
/** https://cloud.google.com/bigquery/docs/schemas#column_names */
const forbiddenInColumns = /[!"$()*,./;?@[\\\]^`{}~]/;
const forbiddenInTables = /[^\p{L}\p{M}\p{N}\p{Pc}\p{Pd}\p{Zs}]/u;
const reservedPrefix =
  /^(_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier|_change_sequence_number|_change_type|_change_timestamp)/i;

function refuseNames({ table }: TableVersion): void {
  const { name } = table;
  const full = `${table.schema}__${name}`;
  if (forbiddenInTables.test(full) || Buffer.byteLength(full) > tableBytesMax) {
    throw refused(`the name of table ${tableName(table)}`, 'table');
  }
  for (const column of table.columns) {
    const isBad =
      column.name.length > columnLengthMax ||
      forbiddenInColumns.test(column.name) ||
      reservedPrefix.test(column.name);
    if (isBad)
      throw refused(`the name of column "${column.name}" of ${tableName(table)}`, 'column');
  }
}

function refused(what: string, kind: 'column' | 'table'): PipelineError {
  return new PipelineError('schema-rejected', `BigQuery does not take ${what}`, {
    hint: `rename the ${kind}, or leave it out of the publication`,
  });
}
