import { lakeNames } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import type { LakeColumn } from '../lake/layout.ts';
import type { Evolution, EvolutionStep } from '../lake/plan-evolution.ts';
import {
  addColumnSql,
  changesOf,
  createTableSql,
  exactForAllSql,
  quoteName,
  rebuildStateSql,
  stateOf,
  viewSql,
  widenColumnSql,
} from './sql.ts';

/** Carries an evolution out, within the open transaction. */
export async function evolveTable(
  lake: LakeConnection,
  evolution: Evolution,
  options: { readonly isTouched: boolean },
): Promise<void> {
  const { layout, steps } = evolution;
  const names = lakeNames(layout);
  if (steps.some(({ kind }) => kind === 'create')) {
    await lake.run(createTableSql(names, layout.columns));
  } else {
    for (const step of steps) await alter(lake, changesOf(names), step);
    // DuckDB refuses to commit an alter of a table whose rows the transaction has changed, and adding a
    // column with a default counts as that.
    const fillsRows = steps.some((step) => step.kind === 'add' && step.column.missing !== null);
    if (steps.length > 0 && (options.isTouched || fillsRows)) {
      await lake.run(rebuildStateSql(names, rebuiltColumns(evolution)));
    } else {
      for (const step of steps) await alter(lake, stateOf(names), step);
    }
    for (const step of steps) {
      if (step.kind !== 'add' || step.exact === null) continue;
      await lake.run(exactForAllSql(names, step.column.physical, step.exact));
    }
  }
  await lake.run(viewSql(names, layout));
}

async function alter(lake: LakeConnection, table: string, step: EvolutionStep): Promise<void> {
  if (step.kind === 'add') {
    await lake.run(addColumnSql(table, step.column));
  } else if (step.kind === 'widen') {
    await lake.run(widenColumnSql(table, step.physical, step.type));
  }
}

function rebuiltColumns({ layout, steps }: Evolution) {
  const added = new Set(steps.flatMap((step) => (step.kind === 'add' ? step.column.physical : [])));
  const sqlOf = ({ physical, missing }: LakeColumn) =>
    added.has(physical) ? (missing ?? 'null') : quoteName(physical);
  return layout.columns.map((column) => {
    return { physical: column.physical, sql: `(${sqlOf(column)})::${column.type}` };
  });
}
