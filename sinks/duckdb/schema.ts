import { PipelineError } from '../../runtime/errors.ts';
import { tableName, type TableVersion } from '../../schemas/table-schema.ts';
import { duckdbTypeOf } from '../../schemas/type-mapping.ts';
import type { LakeEngine } from '../lake/plan-evolution.ts';
import { lakeNames } from '../sink.ts';
import { widenedType } from './layout.ts';
import { missingConstant } from './missing-value.ts';

/** How DuckDB keeps tables. */
export const duckdbEngine: LakeEngine = {
  name: 'DuckDB',
  namesOf: lakeNames,
  typeOf: duckdbTypeOf,
  widenedType,
  missingConstant,
  refuseNames: refuseOwnCatalogs,
};

/** DuckDB's own catalogs: `system.orders` would be ambiguous in every statement and view. */
const ownCatalogs = new Set(['system', 'temp', 'memory']);

function refuseOwnCatalogs({ table }: TableVersion): void {
  if (!ownCatalogs.has(table.schema.toLowerCase())) return;
  throw new PipelineError(
    'schema-rejected',
    `DuckDB keeps the name of schema "${table.schema}" of table ${tableName(table)} for itself`,
    { hint: 'rename the schema, or leave its tables out of the publication' },
  );
}
