import type { LakeEngine } from '../lake/plan-evolution.ts';
import type { Evolution } from '../lake/plan-evolution.ts';
import type { LakeConnection } from './client.ts';
import {
  addColumnsSql,
  changesFields,
  changesOf,
  fillMissingSql,
  stateFields,
  stateOf,
  widenColumnSql,
} from './sql.ts';

const clusteringMax = 4;
const clusterable = /^(STRING|INT64|BOOL|DATE|DATETIME|TIMESTAMP|NUMERIC|BIGNUMERIC)$/;
/** https://cloud.google.com/bigquery/docs/primary-foreign-keys */
const primaryKeyMax = 16;

/**
 * Gives the lake's tables the columns that an evolution needs: at once, as readers see columns only
 * through the view. Done again after a crash it changes nothing. Gives the statements that belong into
 * the transaction of the next published batch.
 */
export async function evolveTable(
  lake: LakeConnection,
  engine: LakeEngine,
  { layout, steps }: Evolution,
): Promise<readonly string[]> {
  const names = engine.namesOf(layout);
  if (steps.some(({ kind }) => kind === 'create')) {
    const key = layout.key.flatMap((name) => {
      const physical = layout.live.find((live) => live.name === name)?.physical;
      return layout.columns.find((column) => column.physical === physical) ?? [];
    });
    const clusterBy = key
      .filter(({ type }) => clusterable.test(type))
      .map(({ physical }) => physical)
      .slice(0, clusteringMax);
    const primaryKey = key.map(({ physical }) => physical).slice(0, primaryKeyMax);
    await lake.createTable({
      name: names.changes,
      fields: changesFields(layout.columns),
      partitionBy: '_cdc_committed_at',
      clusterBy,
    });
    await lake.createTable({
      name: names.state,
      fields: stateFields(layout.columns),
      clusterBy,
      ...(key.length > primaryKeyMax ? {} : { primaryKey }),
    });
    return [];
  }
  const added = steps.flatMap((step) => (step.kind === 'add' ? [step.column] : []));
  const widened = steps.flatMap((step) => (step.kind === 'widen' ? [step] : []));
  for (const table of [changesOf(names), stateOf(names)]) {
    // One statement for all columns: a table may be changed five times in ten seconds.
    if (added.length > 0) await lake.alter(table, addColumnsSql(table, added));
    for (const { physical, type } of widened) {
      await lake.alter(table, widenColumnSql(table, physical, type));
    }
  }
  return steps.flatMap((step) =>
    step.kind === 'add' && (step.column.missing !== null || step.exact !== null)
      ? [fillMissingSql(names, step.column, step.exact)]
      : [],
  );
}
