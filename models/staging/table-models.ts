import type { Mapping } from '../mapping.ts';
import { canBeLeftOut } from './column-family.ts';
import type { LakeColumn } from './lake-table.ts';
import { type GeneratedFile, macroCall } from './sql-text.ts';
import { columnOf, columnValue, exactName, momentOf, type TablePlan } from './table-plan.ts';
import { tenantTarget } from './lookups.ts';

const folder = 'models/staging/generated';
const ref = (model: string) => `ref('${model}')`;

/** `base_cdc__<table>`: one row per change, what an update left out carried forward. */
export function baseModel(plan: TablePlan): GeneratedFile {
  const { mapped, lake } = plan;
  const initial = mapped.kind === 'event' ? mapped.event?.at : mapped.createdAt;
  const text = macroCall(
    'base_cdc',
    `source('lake_${slug(lake.schema)}', '${lake.stored.changes}')`,
    {
      key: plan.key,
      columns: plan.columns.flatMap(baseColumns),
      meta: { ...lake.meta },
      floors: lake.floors.map(({ seq, notedAt }) => ({ seq, noted_at: notedAt })),
      initial_at: momentOf(plan, initial) ?? momentOf(plan, mapped.createdAt),
      ...(lake.cut === undefined ? {} : { cut: lake.cut }),
    },
  );
  return { path: `${folder}/${plan.baseModel}.sql`, text };
}

/** A column of the base model and, where some value needs one, a second for its exact text. */
function baseColumns({ name, family, places, hasExact }: LakeColumn) {
  const large = places.some((place) => canBeLeftOut(place.family));
  const shared = {
    large,
    listed: name,
    places: places.map((place) => ({ ...place })),
  };
  const column = { name, family, is_exact: false, ...shared };
  const exact = { ...column, name: exactName(name), family: 'text' as const, is_exact: true };
  return hasExact ? [column, exact] : [column];
}

/** `stg_<service>__<entity>`: one row per key, as it is now or was last. */
export function currentModel(plan: TablePlan): GeneratedFile {
  const { mapped } = plan;
  const texts = [
    ...plan.key,
    mapped.master?.id,
    mapped.master?.uuid,
    mapped.parent?.column,
    mapped.actor?.column,
    mapped.tenant?.column,
    ...mapped.references.map((reference) => reference.column),
  ];
  const moments = [mapped.createdAt, mapped.updatedAt, mapped.event?.at];
  const text = macroCall('entity_current', ref(plan.baseModel), {
    key: plan.key,
    columns: plan.columns.map((column) => ({
      ...columnValue(column),
      text: texts.includes(column.name),
      as: moments.find((moment) => moment?.column === column.name)?.as ?? null,
      none: mapped.tenant?.column === column.name ? mapped.tenant.none : [],
    })),
  });
  return { path: `${folder}/${plan.currentModel}.sql`, text };
}

/** `stg_<service>__<entity>_changes`: every change with its images, masked. */
export function changesModel(plan: TablePlan): GeneratedFile {
  const { mapped } = plan;
  const masked = new Set(mapped.masked);
  const text = macroCall('row_changes', ref(plan.baseModel), {
    ...origin(plan),
    columns: plan.columns.map((column) => ({
      ...columnValue(column),
      masked: masked.has(column.name),
    })),
    ...owner(plan),
  });
  return { path: `${folder}/${plan.changesModel}.sql`, text };
}

/** `stg_<service>__<entity>_events`: every version of every event, the same columns for all tables. */
export function eventModel(plan: TablePlan, mapping: Mapping): GeneratedFile {
  const { mapped } = plan;
  const { event } = mapped;
  const tenant = mapped.tenant;
  const target = tenant === null ? null : tenantTarget(mapping, mapped);
  const text = macroCall('event_versions', ref(plan.baseModel), {
    ...origin(plan),
    ...owner(plan),
    actor: columnOf(plan, mapped.actor?.column),
    actor_table: mapped.actor?.table ?? null,
    actor_column: mapped.actor?.targetColumn ?? null,
    tenant: columnOf(plan, tenant?.column),
    tenant_none: tenant?.none ?? [],
    tenant_table: target?.table ?? null,
    tenant_column: target?.targetColumn ?? null,
    event_type: columnOf(plan, event?.type),
    occurred_at: momentOf(plan, event?.at),
    status: columnOf(plan, event?.status),
    payload: columnOf(plan, event?.payload),
    metadata: columnOf(plan, event?.metadata),
    entity_type: columnOf(plan, event?.entityType),
    entity_id: columnOf(plan, event?.entityId),
    previous_hash: columnOf(plan, event?.previousHash),
    entry_hash: columnOf(plan, event?.entryHash),
    amount: columnOf(plan, mapped.amount),
    masked: mapped.masked,
  });
  return { path: `${folder}/${plan.changesModel}.sql`, text };
}

const origin = ({ source, mapped }: TablePlan) => ({
  source_table: source,
  service: mapped.service,
  entity: mapped.entity,
});

/** The columns that lead to the master of a row. The master table's own id is its master. */
export function owner(plan: TablePlan) {
  const { mapped } = plan;
  return {
    master_id: columnOf(plan, mapped.master?.id),
    master_uuid: columnOf(plan, mapped.master?.uuid),
    parent: columnOf(plan, mapped.parent?.column),
    parent_table: mapped.parent?.table ?? null,
    parent_column: mapped.parent?.targetColumn ?? null,
  };
}

/** A name that may stand in a source's or model's name. */
export function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
}
