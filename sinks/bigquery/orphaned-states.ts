import type { ListedTable } from './list-tables.ts';

/** A source table's `T__state`, and which table has its rows. */
export interface KeptState {
  readonly state: string;
  readonly place: string;
}

/** After `T__state`: what `StateTables` adds for a new table. */
const suffix = /^_[0-9a-f]{8}_\d+$/;

/** Tables that once had, or were to have, the rows of these source tables, and do not have them. */
export function orphanedStates(
  listed: readonly ListedTable[],
  kept: readonly KeptState[],
): readonly string[] {
  const places = new Set(kept.map(({ place }) => place));
  return listed.flatMap(({ tableReference: { tableId }, type }) => {
    const isState = kept.some(
      ({ state }) =>
        tableId === state ||
        (tableId.startsWith(state) && suffix.test(tableId.slice(state.length))),
    );
    return type === 'TABLE' && isState && !places.has(tableId) ? [tableId] : [];
  });
}
