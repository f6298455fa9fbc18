import { createHash } from 'node:crypto';
import type { MappedTable, Mapping } from '../mapping.ts';
import type { LakeColumn, LakeTable } from './lake-table.ts';
import type { TemplateValue } from './sql-text.ts';

/** What is generated for one table: its mapping, what the lake holds of it, and the models' names. */
export interface TablePlan {
  /** "public.service_event" */
  readonly source: string;
  readonly mapped: MappedTable;
  readonly lake: LakeTable;
  /** The lake's columns without the denied ones. */
  readonly columns: readonly LakeColumn[];
  /** Key columns that the lake has; empty = no key. */
  readonly key: readonly string[];
  readonly baseModel: string;
  readonly currentModel: string;
  readonly changesModel: string;
}

export interface StagingPlan {
  readonly tables: readonly TablePlan[];
  /** Mapped tables that the lake does not hold (yet). */
  readonly missing: readonly string[];
}

/**
 * Decides the models' names and drops what the lake does not have. Deterministic: the same mapping and
 * lake give the same plan, in the order of the tables' names.
 */
export function planStaging(mapping: Mapping, lake: readonly LakeTable[]): StagingPlan {
  const held = new Map(lake.map((table) => [`${table.schema}.${table.name}`, table]));
  const taken = new Set<string>();
  const tables: TablePlan[] = [];
  const missing: string[] = [];
  for (const [source, mapped] of Object.entries(mapping.tables).toSorted(byName)) {
    const table = held.get(source);
    if (table === undefined) missing.push(source);
    else tables.push(planTable({ source, mapped, lake: table }, taken));
  }
  return { tables, missing };
}

const byName = ([left]: readonly [string, unknown], [right]: readonly [string, unknown]) =>
  left < right ? -1 : left > right ? 1 : 0;

type Named = Pick<TablePlan, 'source' | 'mapped' | 'lake'>;

function planTable(named: Named, taken: Set<string>): TablePlan {
  const { mapped, lake, source } = named;
  const denied = new Set(mapped.denied);
  const unique = (name: string) => claim(name, source, taken);
  const table = lake.schema === 'public' ? lake.name : `${lake.schema}__${lake.name}`;
  const stem = `stg_${mapped.service}__${mapped.entity}`;
  const columns = lake.columns.filter((column) => !denied.has(column.name));
  const has = new Set(columns.map((column) => column.name));
  // A key that is denied or not in the lake identifies nothing here.
  const key = mapped.key.every((name) => has.has(name)) ? mapped.key : [];
  return {
    ...named,
    columns,
    key,
    baseModel: unique(`base_cdc__${table}`),
    currentModel: unique(stem),
    changesModel: unique(mapped.kind === 'event' ? `${stem}_events` : `${stem}_changes`),
  };
}

/** Names that differ only in letters a model may not have are told apart by a few digits of a hash. */
function claim(wished: string, source: string, taken: Set<string>): string {
  const plain = wished.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
  const digits = createHash('sha256').update(source).digest('hex').slice(0, 6);
  const name = taken.has(plain) ? `${plain}_${digits}` : plain;
  taken.add(name);
  return name;
}

/** A mapped column as macros take it; null where the mapping names none or the lake has none. */
export function columnOf(plan: TablePlan, name: string | null | undefined): LakeColumnValue | null {
  const found = plan.columns.find((column) => column.name === name);
  return found === undefined ? null : columnValue(found);
}

/** A column of a base model: its name, family and, where some value needs it, the column of its exact text. */
export interface LakeColumnValue {
  readonly name: string;
  readonly family: string;
  readonly exact: string | null;
  readonly [extra: string]: TemplateValue;
}

export function columnValue({ name, family, hasExact }: LakeColumn): LakeColumnValue {
  return { name, family, exact: hasExact ? exactName(name) : null };
}

/** Beside the column itself in the base model: the text of values that its type cannot hold. */
export const exactName = (name: string): string => `_cdc_exact_${name}`;

interface Moment {
  readonly column: string;
  readonly as: string;
}

/** A mapped moment as macros take it. */
export function momentOf(
  plan: TablePlan,
  moment: Moment | null | undefined,
): LakeColumnValue | null {
  const column = columnOf(plan, moment?.column);
  return column === null || !moment ? null : { ...column, as: moment.as };
}
