import type { LakeColumn, TableLayout } from '../lake/layout.ts';
import type { LakeNames } from '../sink.ts';

/** Where a table's rows are when that is not `T__state` or when they come by key. Stored with the checkpoint. */
export interface StatePlace {
  /** Name of the table. */
  readonly table: string;
  /** Rows come as UPSERT and DELETE by the Storage Write interface: no statement may change them. */
  readonly isKeyed: boolean;
}

/** topic → place; none for rows that statements merge into `T__state`. */
export type StatePlaces = Readonly<Record<string, StatePlace>>;

/** The table's names with the place of its rows. */
export const placedNames = (names: LakeNames, place: StatePlace | undefined): LakeNames =>
  place === undefined ? names : { ...names, state: place.table };

/** https://cloud.google.com/bigquery/docs/change-data-capture#prerequisites */
const keyColumnsMax = 16;
/** Every value of the source's types is a value of its own there. A date may be `infinity`, a numeric NaN. */
const wholeTypes = ['BOOL', 'INT64', 'STRING'];

/** The columns of the newest key, in its order. */
export function keyColumns(layout: TableLayout): readonly LakeColumn[] {
  return layout.key.flatMap((name) => {
    const physical = layout.live.find((live) => live.name === name)?.physical;
    return layout.columns.find((column) => column.physical === physical) ?? [];
  });
}

/** Whether BigQuery can tell the table's rows apart by their key. */
export function canBeKeyed(layout: TableLayout): boolean {
  const key = keyColumns(layout);
  if (key.length === 0 || key.length > keyColumnsMax) return false;
  return key.every(({ type }) => wholeTypes.includes(type));
}
