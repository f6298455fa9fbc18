import { PipelineError } from '../../runtime/errors.ts';
import {
  type ColumnSchema,
  type LogicalType,
  type TableVersion,
  tableName,
} from '../../schemas/table-schema.ts';
import {
  type LakeColumn,
  type LiveColumn,
  type NamesOf,
  tableKey,
  type TableLayout,
} from './layout.ts';

/** A constant for rows that exist: the expression for the column, and its exact text if that is not all of it. */
export interface MissingConstant {
  readonly sql: string;
  readonly exact: string | null;
}

/** A column as its table has it. */
export interface ColumnPlace {
  /** "schema.table.column". */
  readonly name: string;
  readonly isKey: boolean;
}

/** Where a table version has the column. */
export function columnPlace({ table }: TableVersion, column: string): ColumnPlace {
  return { name: `${tableName(table)}.${column}`, isKey: table.key.includes(column) };
}

/** What engines differ in when a table's shape changes. */
export interface LakeEngine {
  /** "DuckDB": for messages. */
  readonly name: string;
  readonly namesOf: NamesOf;
  readonly typeOf: (type: LogicalType, place: ColumnPlace) => string;
  /** The narrowest type for the values of both; null when that would change how values read. */
  readonly widenedType: (lake: string, wanted: string) => string | null;
  readonly missingConstant: (type: LogicalType, text: string, lakeType: string) => MissingConstant;
  /** Throws `schema-rejected` for names that the engine has no place for. */
  readonly refuseNames: (version: TableVersion) => void;
}

export type EvolutionStep =
  | { readonly kind: 'create' }
  | { readonly kind: 'add'; readonly column: LakeColumn; readonly exact: string | null }
  | { readonly kind: 'widen'; readonly physical: string; readonly type: string };

/** What makes the lake able to hold a version. */
export interface Evolution {
  readonly layout: TableLayout;
  readonly steps: readonly EvolutionStep[];
  /** What happened, for `_tributary_schema_history`. */
  readonly notes: readonly string[];
}

/** Names of our own columns in `T__state` and `T__changes`. */
const ownColumns = new Set([
  '_cdc_op',
  '_cdc_seq',
  '_cdc_lsn',
  '_cdc_xid',
  '_cdc_committed_at',
  '_cdc_captured_at',
  '_cdc_loaded_at',
  '_cdc_topic',
  '_cdc_partition',
  '_cdc_offset',
  '_cdc_schema_id',
  '_cdc_unchanged',
  '_cdc_exact',
  '_cdc_batch_id',
  '_cdc_deleted',
]);

/**
 * From the newest layout (undefined: a table new to the lake) to one that holds this version too. A
 * column keeps its place as long as its type can be widened; else a new column `name__v2` takes over
 * behind the view. Throws `schema-rejected` when the engine, which ignores case, cannot tell names apart.
 */
export function planEvolution(
  engine: LakeEngine,
  before: TableLayout | undefined,
  version: TableVersion,
): Evolution {
  const { topic, valueSchemaId, from, table } = version;
  engine.refuseNames(version);
  refuseAlikeColumns(engine, version);
  const isRecreated = before !== undefined && before.oid !== table.oid;
  const plan: Plan = {
    columns: [...(before?.columns ?? [])],
    steps: [],
    notes: [],
    rekeyed: false,
  };
  const live = table.columns.map((column): LiveColumn => {
    const physical = placeColumn(plan, column, {
      engine,
      before,
      isRecreated,
      place: columnPlace(version, column.name),
    });
    return { name: column.name, physical, kind: column.type.kind };
  });
  noteDropped(plan, before, version);
  if (isRecreated) plan.notes.push('table dropped and created again: its earlier rows are gone');
  const layout: TableLayout = {
    topic,
    schema: table.schema,
    name: table.name,
    oid: table.oid,
    valueSchemaId,
    from,
    key: table.key,
    live,
    columns: plan.columns,
    floor: isRecreated || plan.rekeyed ? from : null,
  };
  if (before === undefined) return { layout, steps: [{ kind: 'create' }], notes: ['created'] };
  return { layout, steps: plan.steps, notes: plan.notes };
}

interface Plan {
  readonly columns: LakeColumn[];
  readonly steps: EvolutionStep[];
  readonly notes: string[];
  /** A key column went elsewhere: rows under the old one cannot be found by key any more. */
  rekeyed: boolean;
}

interface Before {
  readonly engine: LakeEngine;
  readonly before: TableLayout | undefined;
  readonly isRecreated: boolean;
  readonly place: ColumnPlace;
}

/** Finds or makes the column's place; gives its physical name. */
function placeColumn(plan: Plan, column: ColumnSchema, given: Before): string {
  const wanted = given.engine.typeOf(column.type, given.place);
  const physical = given.before?.live.find(({ name }) => name === column.name)?.physical;
  const at = plan.columns.findIndex((one) => one.physical === physical);
  const known = plan.columns[at];
  if (known === undefined) return addColumn(plan, column, given);
  const type = given.engine.widenedType(known.type, wanted);
  if (type === null) {
    plan.notes.push(`column ${column.name} retyped from ${known.type} to ${wanted}`);
    if (given.place.isKey) plan.rekeyed = true;
    return addColumn(plan, column, given);
  }
  if (type !== known.type) {
    plan.columns[at] = { ...known, type };
    plan.steps.push({ kind: 'widen', physical: known.physical, type });
    plan.notes.push(`column ${column.name} widened from ${known.type} to ${type}`);
  }
  return known.physical;
}

function addColumn(plan: Plan, source: ColumnSchema, given: Before): string {
  const taken = new Set(plan.columns.map(({ physical }) => physical.toLowerCase()));
  let physical = source.name;
  // A dropped column's place is not used again: older rows still have its values there.
  for (let number = 2; taken.has(physical.toLowerCase()); number += 1) {
    physical = `${source.name}__v${number}`;
  }
  const { type, missingValue } = source;
  const lakeType = given.engine.typeOf(type, given.place);
  const constant =
    missingValue === undefined || given.isRecreated
      ? null
      : given.engine.missingConstant(type, missingValue, lakeType);
  const { sql: missing = null, exact = null } = constant ?? {};
  const missingExact = exact === null ? {} : { missingExact: exact };
  const column: LakeColumn = { physical, type: lakeType, missing, ...missingExact };
  plan.columns.push(column);
  plan.steps.push({ kind: 'add', column, exact });
  plan.notes.push(
    `column ${source.name} added${physical === source.name ? '' : ` as ${physical}`}`,
  );
  return physical;
}

function noteDropped(plan: Plan, before: TableLayout | undefined, version: TableVersion): void {
  const now = new Set(version.table.columns.map(({ name }) => name));
  const dropped = (before?.live ?? []).filter(({ name }) => !now.has(name));
  for (const { name } of dropped) plan.notes.push(`column ${name} dropped or renamed`);
}

function refuseAlikeColumns(engine: LakeEngine, { table }: TableVersion): void {
  const seen = new Map<string, string>();
  for (const { name } of table.columns) {
    const folded = name.toLowerCase();
    const twin = ownColumns.has(folded) ? folded : seen.get(folded);
    if (twin !== undefined) {
      throw alike(engine, `columns "${twin}" and "${name}" of ${tableName(table)}`, 'column');
    }
    seen.set(folded, name);
  }
}

function alike(engine: LakeEngine, what: string, kind: 'column' | 'table'): PipelineError {
  return new PipelineError(
    'schema-rejected',
    `${what} differ in nothing but case, or in nothing at all, for ${engine.name}`,
    { hint: `rename one of them, or leave the ${kind} out of the publication` },
  );
}

/** Refuses a table whose names in the lake another table of the source has already. */
export function refuseAlikeTables(
  engine: LakeEngine,
  version: TableVersion,
  others: Iterable<Pick<TableLayout, 'topic' | 'schema' | 'name'>>,
): void {
  const relations = (table: Pick<TableLayout, 'schema' | 'name'>) => {
    const { schema, changes, state, view } = engine.namesOf(table);
    return [changes, state, view].map((name) => tableKey({ schema, name }));
  };
  const own = new Set(relations(version.table));
  for (const other of others) {
    if (other.topic === version.topic) continue;
    if (!relations(other).some((name) => own.has(name))) continue;
    throw alike(
      engine,
      `tables ${tableName(other)} and ${tableName(version.table)}, as the lake names them,`,
      'table',
    );
  }
}
