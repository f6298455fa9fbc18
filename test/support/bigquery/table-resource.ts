import { restName, type StoredTable } from './store.ts';
import { fieldResources } from './table-schema.ts';

/** A table as REST answers it. */
export function tableResource(table: StoredTable): Readonly<Record<string, unknown>> {
  const { ref, fields, settings, viewQuery, schemaVersion, createdMs, modifiedMs } = table;
  return {
    kind: 'bigquery#table',
    id: restName(ref),
    tableReference: ref,
    type: viewQuery === undefined ? 'TABLE' : 'VIEW',
    etag: `${createdMs}-${modifiedMs}-${schemaVersion}`,
    schema: { fields: fieldResources(fields) },
    creationTime: String(createdMs),
    lastModifiedTime: String(modifiedMs),
    ...settings,
    ...(viewQuery === undefined ? {} : { view: { query: viewQuery, useLegacySql: false } }),
  };
}
