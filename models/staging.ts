import type { Mapping } from './mapping.ts';
import type { LakeWatermarks } from './lake.ts';
import type { LakeTable } from './staging/lake-table.ts';
import { sharedModelFile, sharedModels } from './staging/shared-models.ts';
import type { GeneratedFile } from './staging/sql-text.ts';
import { baseModel, changesModel, currentModel, eventModel } from './staging/table-models.ts';
import { planStaging, type TablePlan } from './staging/table-plan.ts';
import { modelsYaml, sharedYaml, sourcesYaml } from './staging/yaml.ts';

export interface StagingInput {
  readonly mapping: Mapping;
  /** What the lake holds, from its own `information_schema`: the mapping never decides a type. */
  readonly tables: readonly LakeTable[];
  /** The lake's watermark table; null when it has none. */
  readonly watermarks: LakeWatermarks | null;
}

export interface Staging {
  readonly files: readonly GeneratedFile[];
  /** Mapped tables that the lake does not hold, so nothing was generated for them. */
  readonly missing: readonly string[];
}

/**
 * Turns a mapping and the lake's columns into the sources and staging models of the dbt project. Pure and
 * deterministic; a column that the mapping names and the lake lacks reads as null.
 */
export function generateStaging({ mapping, tables, watermarks }: StagingInput): Staging {
  const full = withMaster(mapping);
  const plan = planStaging(full, tables);
  const shared = sharedModels({
    mapping: full,
    tables: plan.tables,
    watermarks,
  });
  const files = [
    ...plan.tables.flatMap((table) => tableFiles(table, full)),
    ...shared.map(sharedModelFile),
    sourcesYaml(plan.tables, watermarks?.schema ?? null),
    ...plan.tables.map(modelsYaml),
    sharedYaml(shared),
  ];
  return { files, missing: plan.missing };
}

function tableFiles(plan: TablePlan, mapping: Mapping): readonly GeneratedFile[] {
  const second = plan.mapped.kind === 'event' ? eventModel(plan, mapping) : changesModel(plan);
  return [baseModel(plan), currentModel(plan), second];
}

/** The master table is its own master, whatever its entry says. */
function withMaster(mapping: Mapping): Mapping {
  const { master } = mapping;
  const entry = master === null ? undefined : mapping.tables[master.table];
  if (master === null || entry === undefined) return mapping;
  const own = {
    ...entry,
    kind: 'master' as const,
    master: { id: master.id, uuid: master.uuid },
    parent: null,
  };
  return { ...mapping, tables: { ...mapping.tables, [master.table]: own } };
}
