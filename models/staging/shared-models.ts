import type { LakeWatermarks } from '../lake.ts';
import type { Mapping } from '../mapping.ts';
import { lookupTargets } from './lookups.ts';
import {
  eventColumns,
  lookupColumns,
  masterChangeColumns,
  referenceColumns,
  rowChangeColumns,
  type SharedColumn,
  tableColumns,
  watermarkColumns,
} from './shared-columns.ts';
import { type GeneratedFile, macroCall, type TemplateValue } from './sql-text.ts';
import { owner } from './table-models.ts';
import { columnOf, momentOf, type TablePlan } from './table-plan.ts';

export interface SharedModel {
  readonly name: string;
  readonly description: string;
  readonly columns: readonly SharedColumn[];
  readonly sql: string;
}

export interface SharedModelInput {
  readonly mapping: Mapping;
  readonly tables: readonly TablePlan[];
  /** The lake's watermark table; null when it has none. */
  readonly watermarks: LakeWatermarks | null;
}

/** The models that the project's own models read: one of each, whatever tables there are. */
export function sharedModels(input: SharedModelInput): readonly SharedModel[] {
  const { tables, mapping } = input;
  return [
    union('events', {
      description: 'One row per version of an event, of all event tables.',
      columns: eventColumns,
      plans: tables.filter((plan) => plan.mapped.kind === 'event'),
    }),
    union('row_changes', {
      description: 'One row per change of a table that is not an event table.',
      columns: rowChangeColumns,
      plans: tables.filter((plan) => plan.mapped.kind !== 'event'),
    }),
    masters(mapping, tables),
    shared('lookups', {
      description: 'One row per change of a row that other rows point to.',
      columns: lookupColumns,
      entries: lookups(mapping, tables),
    }),
    shared('references', {
      description: 'One row per change and reference column.',
      columns: referenceColumns,
      entries: references(tables),
    }),
    shared('tables', {
      description: 'One row per mapped table.',
      columns: tableColumns,
      entries: tables.map(tableEntry),
    }),
    watermarks(input.watermarks),
  ];
}

type SharedText = Pick<SharedModel, 'description' | 'columns'>;

/** The file of a shared model. */
export function sharedModelFile(model: SharedModel): GeneratedFile {
  return { path: `models/staging/generated/${model.name}.sql`, text: model.sql };
}

const columnValues = (columns: readonly SharedColumn[]) =>
  columns.map(({ name, type }) => ({ name, type }));

function union(
  name: string,
  { description, columns, plans }: SharedText & { readonly plans: readonly TablePlan[] },
): SharedModel {
  const sql = macroCall('union_of', null, {
    models: plans.map((plan) => plan.changesModel),
    columns: columnValues(columns),
  });
  return { name: `stg_tributary__${name}`, description, columns, sql };
}

function shared(
  name: string,
  { description, columns, entries }: SharedText & { readonly entries: readonly TemplateValue[] },
): SharedModel {
  const sql = macroCall(`shared_${name}`, null, { entries, columns: columnValues(columns) });
  return { name: `stg_tributary__${name}`, description, columns, sql };
}

function masters(mapping: Mapping, tables: readonly TablePlan[]): SharedModel {
  const { master } = mapping;
  const plan = tables.find((one) => one.source === master?.table);
  const description = 'One row per change of the master table; empty where the database has none.';
  const entries =
    master === null || plan === undefined
      ? []
      : [
          {
            ...entryOf(plan),
            changes: plan.changesModel,
            id: columnOf(plan, master.id),
            uuid: columnOf(plan, master.uuid),
            type: columnOf(plan, master.type),
            name: columnOf(plan, master.name),
            created_at: momentOf(plan, master.createdAt),
            updated_at: momentOf(plan, master.updatedAt),
          },
        ];
  return shared('master_changes', { description, columns: masterChangeColumns, entries });
}

const entryOf = (plan: TablePlan) => ({
  model: plan.baseModel,
  source_table: plan.source,
  service: plan.mapped.service,
  entity: plan.mapped.entity,
});

const tableEntry = (plan: TablePlan) => ({
  ...entryOf(plan),
  kind: plan.mapped.kind,
  has_key: plan.key.length > 0,
});

function lookups(mapping: Mapping, tables: readonly TablePlan[]): readonly TemplateValue[] {
  return lookupTargets(mapping).flatMap(({ table, targetColumn }) => {
    const plan = tables.find((one) => one.source === table);
    const lookup = plan === undefined ? null : columnOf(plan, targetColumn);
    if (plan === undefined || lookup === null) return [];
    return [{ ...entryOf(plan), ...owner(plan), lookup }];
  });
}

function references(tables: readonly TablePlan[]): readonly TemplateValue[] {
  return tables.flatMap((plan) =>
    plan.mapped.references.flatMap((reference) => {
      const column = columnOf(plan, reference.column);
      // The own master is an edge of its own, and a masked value must not come back as a link.
      const skip =
        column === null || Object.values(plan.mapped.master ?? {}).includes(reference.column);
      if (skip || plan.mapped.masked.includes(reference.column)) return [];
      return [
        {
          ...entryOf(plan),
          ...owner(plan),
          kind: plan.mapped.kind,
          column,
          target_table: reference.table,
          target_column: reference.targetColumn,
          target_type: columnOf(plan, reference.typeColumn),
          is_declared: reference.declared,
        },
      ];
    }),
  );
}

/** The lake says what its columns are called; those looked for are the cut and its commit time. */
function watermarks(lake: SharedModelInput['watermarks']): SharedModel {
  const columns = lake?.columns;
  const names = Object.keys(columns ?? {});
  const find = (pattern: RegExp) => names.find((name) => pattern.test(name)) ?? null;
  const committed = find(/committed_at/);
  const entry = {
    cut: find(/^_?(cdc_)?cut$|position|applied/),
    committed_name: committed,
    committed_family: committed === null ? null : (columns?.[committed] ?? null),
    publish: find(/publish/),
    ...(lake?.cut === undefined ? {} : { until: lake.cut }),
  };
  return shared('watermarks', {
    description: 'One row per published cut of the lake.',
    columns: watermarkColumns,
    entries: committed === null ? [] : [entry],
  });
}
