import type { TableLayout } from '../lake/layout.ts';
import type { Evolution } from '../lake/plan-evolution.ts';
import type { LakeConnection } from './client.ts';
import { createChanges } from './create-table.ts';
import {
  addColumnsSql,
  changesOf,
  type FilledColumn,
  fillMissingSql,
  stateOf,
  widenColumnSql,
} from './sql.ts';
import type { StateTables } from './state-tables.ts';

export interface TableEvolution {
  readonly lake: LakeConnection;
  readonly states: StateTables;
  /** Undefined for a table that is new to the lake. */
  readonly before: TableLayout | undefined;
  readonly evolution: Evolution;
  /** Whether all rows of the table are where they belong: else they cannot be copied. */
  readonly canMove: boolean;
}

/**
 * Gives the lake's tables the columns that an evolution needs: at once, as readers see columns only
 * through the view. Done again after a crash it changes nothing. Gives the statements that belong into
 * the transaction of the next published batch.
 */
export async function evolveTable(change: TableEvolution): Promise<readonly string[]> {
  const { lake, states, before, evolution, canMove } = change;
  const { layout, steps } = evolution;
  if (before === undefined) {
    states.place(layout);
    await createChanges(lake, states.names(layout), layout);
    await states.create(layout);
    return [];
  }
  const names = states.names(layout);
  const added = steps.flatMap((step) => (step.kind === 'add' ? [step.column] : []));
  const widened = steps.flatMap((step) => (step.kind === 'widen' ? [step] : []));
  for (const table of [changesOf(names), stateOf(names)]) {
    // One statement for all columns: a table may be changed five times in ten seconds.
    if (added.length > 0) await lake.alter(table, addColumnsSql(table, added));
    for (const { physical, type } of widened) {
      await lake.alter(table, widenColumnSql(table, physical, type));
    }
  }
  const fills = filledColumns(evolution);
  if (canMove && states.mustMove(before, layout, fills)) {
    await states.move(layout, fills);
    return [];
  }
  return fills.length === 0 ? [] : [fillMissingSql(names, fills)];
}

/** The new columns that rows which exist read a constant in. */
function filledColumns({ steps }: Evolution): readonly FilledColumn[] {
  return steps.flatMap((step) =>
    step.kind === 'add' && (step.column.missing !== null || step.exact !== null)
      ? [{ column: step.column, exact: step.exact }]
      : [],
  );
}
