import type { LakeColumn, TableLayout } from '../lake/layout.ts';
import type { LakeNames } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { changesFields, stateFields } from './sql.ts';
import { keyColumns } from './state-place.ts';

const clusteringMax = 4;
const clusterable = /^(STRING|INT64|BOOL|DATE|DATETIME|TIMESTAMP|NUMERIC|BIGNUMERIC)$/;
/** https://cloud.google.com/bigquery/docs/primary-foreign-keys */
const primaryKeyMax = 16;

export interface NewState {
  readonly names: LakeNames;
  readonly layout: TableLayout;
  readonly maxStalenessMinutes?: number;
}

/** Creates the table of the rows unless it is there. */
export async function createState(lake: LakeConnection, state: NewState): Promise<void> {
  const { names, layout, maxStalenessMinutes } = state;
  const key = keyColumns(layout);
  const primaryKey = key.map(({ physical }) => physical);
  await lake.createTable({
    name: names.state,
    fields: stateFields(layout.columns),
    clusterBy: clusteringOf(key),
    ...(key.length > primaryKeyMax ? {} : { primaryKey }),
    ...(maxStalenessMinutes === undefined ? {} : { maxStalenessMinutes }),
  });
}

/** Creates the table of the changes unless it is there. */
export async function createChanges(
  lake: LakeConnection,
  names: LakeNames,
  layout: TableLayout,
): Promise<void> {
  await lake.createTable({
    name: names.changes,
    fields: changesFields(layout.columns),
    partitionBy: '_cdc_committed_at',
    clusterBy: clusteringOf(keyColumns(layout)),
  });
}

const clusteringOf = (key: readonly LakeColumn[]): readonly string[] =>
  key
    .filter(({ type }) => clusterable.test(type))
    .map(({ physical }) => physical)
    .slice(0, clusteringMax);
