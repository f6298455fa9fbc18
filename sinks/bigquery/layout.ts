import type { TableSchema } from '../../schemas/table-schema.ts';
import type { LakeNames } from '../sink.ts';

/** Of the names of all `T__changes`. */
export const changesSuffix = '__changes';

/** Everything is in the one dataset: tables of the default schema as `T`, others as `schema__T`. */
export function datasetNames(
  dataset: string,
  table: Pick<TableSchema, 'schema' | 'name'>,
): LakeNames {
  const name = table.schema === 'public' ? table.name : `${table.schema}__${table.name}`;
  return {
    schema: dataset,
    changes: `${name}${changesSuffix}`,
    state: `${name}__state`,
    view: name,
  };
}

const exactNumbers = ['INT64', 'NUMERIC', 'BIGNUMERIC'];

/**
 * The narrowest type that takes every value of both without changing how one reads, among those that
 * BigQuery widens a column to in place. INT64 to FLOAT64 would round, so it is not one of them.
 * https://cloud.google.com/bigquery/docs/managing-table-schemas#change_column_type
 */
export function widenedType(lake: string, wanted: string): string | null {
  if (lake === wanted) return lake;
  const [left, right] = [exactNumbers.indexOf(lake), exactNumbers.indexOf(wanted)];
  return left < 0 || right < 0 ? null : (exactNumbers[Math.max(left, right)] ?? null);
}
