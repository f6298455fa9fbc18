import { PipelineError } from '../../runtime/errors.ts';
import { type LogicalType, tableName, type TableVersion } from '../../schemas/table-schema.ts';
import { bigqueryTypeOf } from '../../schemas/type-mapping.ts';
import type { TableLayout } from '../lake/layout.ts';
import type { ColumnPlace } from '../lake/plan-evolution.ts';

/** How a column is kept, and what becomes of the values that it cannot hold. */
export interface ColumnPolicy {
  /** Type of json and jsonb columns. */
  readonly json: 'string' | 'json';
  /** `exact_text`: NULL in the column, its text in `_cdc_exact`. `dead_letter`: the change is kept out of the tables. */
  readonly unfit: 'exact_text' | 'dead_letter';
}

/** A policy for each column, by "schema.table.column". */
export type PolicyOf = (column: string) => ColumnPolicy;

/** Loses nothing and compares everywhere. */
export const defaultPolicy: ColumnPolicy = { json: 'string', unfit: 'exact_text' };

/** The type of a column. A key is compared, and JSON cannot be. */
export function policedType(type: LogicalType, place: ColumnPlace, policyOf: PolicyOf): string {
  if (!isDocument(type.kind) || place.isKey) return bigqueryTypeOf(type);
  return policyOf(place.name).json === 'json' ? 'JSON' : 'STRING';
}

/** Whether the policy decides the type of such a column. */
export const isDocument = (kind: LogicalType['kind'] | undefined): boolean =>
  kind === 'json' || kind === 'jsonb';

/**
 * Throws `sink-refused` when the lake keeps documents otherwise than the policy says: rows that are there would have
 * to be written anew, which only loading them again does.
 */
export function refuseOtherTypes(layouts: Iterable<TableLayout>, policyOf: PolicyOf): void {
  const others = [...layouts].flatMap((layout) =>
    layout.live.flatMap(({ name, physical, kind }) => {
      if (!isDocument(kind) || layout.key.includes(name)) return [];
      const place = `${tableName(layout)}.${name}`;
      const stored = layout.columns.find((column) => column.physical === physical)?.type;
      const wanted = policyOf(place).json === 'json' ? 'JSON' : 'STRING';
      return stored === wanted ? [] : [{ place, stored, wanted }];
    }),
  );
  const [first] = others;
  if (first === undefined) return;
  const more = others.length === 1 ? '' : ` (and ${others.length - 1} more columns)`;
  throw new PipelineError(
    'sink-refused',
    `column ${first.place} is ${first.stored} in the lake, and the configuration asks for ${first.wanted}${more}`,
    {
      hint: 'set columns.json back, for some columns by columns.overrides, or load into a new dataset',
      context: { columns: others.slice(0, namedMax).map(({ place }) => place) },
    },
  );
}

/** Columns that an error names. */
const namedMax = 20;

/** The layout with the kinds that it lacks, as a version of the table has them. */
export function withKinds(layout: TableLayout, { table }: TableVersion): TableLayout {
  const live = layout.live.map((one) => {
    const kind = one.kind ?? table.columns.find(({ name }) => name === one.name)?.type.kind;
    return kind === undefined ? one : { ...one, kind };
  });
  return { ...layout, live };
}
