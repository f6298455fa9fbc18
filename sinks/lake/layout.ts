import { assert } from '../../runtime/assert.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { LogicalType, TableSchema, TableVersion } from '../../schemas/table-schema.ts';
import type { LakeNames } from '../sink.ts';

/** A column of `T__state` and `T__changes`. Columns are never dropped there. */
export interface LakeColumn {
  /** Name in the lake's tables; differs from the source's after an incompatible retype. */
  readonly physical: string;
  /** The engine's type, wide enough for every version so far. */
  readonly type: string;
  /** SQL of the constant that rows older than the column read; null when they read NULL. */
  readonly missing: string | null;
  /** What `_cdc_exact` says of that constant; left out when the column holds all of it. */
  readonly missingExact?: string;
}

/** One column of a table version and where the lake keeps it. */
export interface LiveColumn {
  readonly name: string;
  readonly physical: string;
  /** What the source's values are; layouts of older lakes lack it. */
  readonly kind?: LogicalType['kind'];
}

/** How the lake keeps one version of a table. Stored in `_tributary_schema_history`, newest last. */
export interface TableLayout {
  readonly topic: string;
  readonly schema: string;
  readonly name: string;
  readonly oid: number;
  readonly valueSchemaId: number;
  readonly from: PositionText;
  readonly key: readonly string[];
  /** The version's columns in their order. */
  readonly live: readonly LiveColumn[];
  /** Every column that the lake's tables have, in their order. */
  readonly columns: readonly LakeColumn[];
  /** Rows below it belong to an earlier table of that name, or to an earlier key. */
  readonly floor: PositionText | null;
}

/** A column of one table version on its way into the lake. */
export interface VersionColumn {
  readonly name: string;
  readonly type: LogicalType;
  readonly physical: string;
  /** Type in the lake, at least as wide as the version's own. */
  readonly lakeType: string;
  readonly isKey: boolean;
}

/** What of the lake one table version writes to. */
export interface VersionLayout {
  readonly version: TableVersion;
  readonly names: LakeNames;
  readonly columns: readonly VersionColumn[];
  /** Columns that came after this version: its rows read their missing value. */
  readonly later: readonly LakeColumn[];
}

/** What an engine calls a table's relations. */
export type NamesOf = (table: Pick<TableSchema, 'schema' | 'name'>) => LakeNames;

/** All layouts of one table, oldest first. */
export class TableHistory {
  readonly #layouts: TableLayout[] = [];
  readonly #namesOf: NamesOf;

  constructor(namesOf: NamesOf) {
    this.#namesOf = namesOf;
  }

  add(layout: TableLayout): void {
    const at = this.#layouts.findIndex(({ from }) => from > layout.from);
    if (at < 0) this.#layouts.push(layout);
    else this.#layouts.splice(at, 0, layout);
  }

  get newest(): TableLayout | undefined {
    return this.#layouts.at(-1);
  }

  /** Below it every row belongs to an earlier table of that name, or to an earlier key. */
  get floor(): PositionText | null {
    const floors = this.#layouts.flatMap(({ floor }) => floor ?? []);
    return floors.toSorted().at(-1) ?? null;
  }

  /** The layout of a version that was evolved, with the columns that the lake's tables have by now. */
  of(version: TableVersion): VersionLayout | undefined {
    const layout = this.#layouts.findLast(({ from }) => from <= version.from);
    const { newest } = this;
    if (layout === undefined || newest === undefined) return undefined;
    const columns = version.table.columns.map(({ name, type }): VersionColumn => {
      const physical = layout.live.find((live) => live.name === name)?.physical;
      const column = newest.columns.find((one) => one.physical === physical);
      assert(column, `column ${name} of ${version.table.name} is in the lake's layout`);
      const { key } = version.table;
      const { type: lakeType } = column;
      return { name, type, physical: column.physical, lakeType, isKey: key.includes(name) };
    });
    const known = new Set(layout.columns.map(({ physical }) => physical));
    const later = newest.columns.filter(
      ({ physical, missing }) => missing !== null && !known.has(physical),
    );
    return { version, names: this.#namesOf(version.table), columns, later };
  }
}

/** Key of a table among the lake's: engines tell names apart without regard to case. */
export function tableKey(table: Pick<TableSchema, 'schema' | 'name'>): string {
  return JSON.stringify([table.schema.toLowerCase(), table.name.toLowerCase()]);
}
