import type { ColumnFamily } from './column-family.ts';
import type { LakeColumn, LakePlace } from './lake-table.ts';

/** A column of a lake table. */
export interface TypedColumn {
  readonly name: string;
  /** As the engine spells it. */
  readonly type: string;
  readonly family: ColumnFamily;
}

/** One entry of the lake's `_tributary_schema_history`. */
export interface SchemaNote {
  readonly schema: string;
  readonly table: string;
  readonly from: string;
  /** The source's columns and the lake's columns that hold them from here on. */
  readonly live: readonly { readonly name: string; readonly physical: string }[];
  /** The lake's columns by now; `missing` is the SQL of what rows older than the column read. */
  readonly columns: readonly { readonly physical: string; readonly missing: string | null }[];
  /** Rows below this position belong to an earlier table of that name, or to an earlier key. */
  readonly floor: string | null;
  readonly notedAt: string;
}

/**
 * Brings the lake's columns together under the source's names. A retype that the lake's column could not
 * follow made a second one (`name__v2`); each row fills the one of its time, so whichever is filled has
 * the value. Columns that the source no longer has stay: their rows are history.
 */
export function gatherColumns(
  typed: readonly TypedColumn[],
  history: readonly SchemaNote[],
  exacts: ReadonlySet<string>,
): readonly LakeColumn[] {
  const nameOf = new Map<string, string>();
  for (const { live } of history) for (const { name, physical } of live) nameOf.set(physical, name);
  // Without regard to case, as both engines tell columns apart.
  const groups = Map.groupBy(typed, ({ name }) => (nameOf.get(name) ?? name).toLowerCase());
  return [...groups.values()].map((group) => {
    // The lake adds columns at the end, so the last one is the newest.
    const places = group.toReversed();
    const [newest] = places;
    const isOneType = new Set(group.map(({ type }) => type)).size === 1;
    return {
      name: nameOf.get(newest?.name ?? '') ?? newest?.name ?? '',
      family: isOneType ? (newest?.family ?? 'text') : 'text',
      places: places.map(({ name, family }) => ({
        name,
        family,
        missing: missingOf(name, history),
      })),
      hasExact: group.some(({ name }) => exacts.has(name)),
    };
  });
}

/** The constant that rows from before the column read, as they do at the source. */
function missingOf(place: string, history: readonly SchemaNote[]): LakePlace['missing'] {
  for (const { from, columns } of history) {
    const found = columns.find(({ physical }) => physical === place);
    if (found !== undefined)
      return found.missing === null ? null : { sql: found.missing, before: from };
  }
  return null;
}
