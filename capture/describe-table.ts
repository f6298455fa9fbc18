import type { CatalogColumn, CatalogTable, CatalogType } from '../schemas/catalog.ts';
import { resolveType } from '../schemas/resolve-type.ts';
import type { ColumnSchema, TableSchema } from '../schemas/table-schema.ts';
import type { RelationColumn, RelationMessage } from './pgoutput/message.ts';
import { replicaIdentities } from './postgres/catalog.ts';

/** What the catalog knows at the time of asking; the stream may be older. */
export interface CatalogKnowledge {
  /** Null when the table is gone. */
  readonly table: CatalogTable | null;
  readonly types: ReadonlyMap<number, CatalogType>;
  /** `format_type` of the Relation message's columns, in their order. */
  readonly pgTypes: readonly string[];
}

/**
 * The table as the Relation message says it is, with what only the catalog knows: nullability, key
 * order, defaults, enum labels. Where they disagree the wider wins: a column that the catalog does not
 * know, or knows with another type, is nullable and has no default.
 */
export function describeTable(relation: RelationMessage, catalog: CatalogKnowledge): TableSchema {
  const known = new Map(catalog.table?.columns.map((column) => [column.name, column]));
  const key = keyOf(relation, catalog.table);
  return {
    oid: relation.oid,
    schema: relation.schema,
    name: relation.name,
    columns: relation.columns.map((column, index) => {
      const type = resolveType(column.typeOid, column.typeModifier, catalog.types);
      const pgType = catalog.pgTypes[index] ?? '';
      const found = known.get(column.name);
      const isKey = key.includes(column.name);
      return { name: column.name, type, pgType, ...columnTraits(column, found, isKey) };
    }),
    key,
    replicaIdentity: replicaIdentities[relation.replicaIdentity] ?? 'default',
  };
}

/** A Relation message for a table that the stream has not named yet, as pgoutput would send it. */
export function relationOf(
  table: CatalogTable,
  publishedColumns: readonly string[] | null,
): RelationMessage {
  const key = table.replicaIdentity === 'index' ? table.identityIndex : table.primaryKey;
  const isPublished = (column: CatalogColumn): boolean =>
    publishedColumns === null ? column.generated === null : publishedColumns.includes(column.name);
  return {
    tag: 'relation',
    oid: table.oid,
    schema: table.schema,
    name: table.name,
    replicaIdentity: table.replicaIdentity.charAt(0),
    columns: table.columns.filter(isPublished).map((column) => ({
      name: column.name,
      isKey: table.replicaIdentity === 'full' || key.includes(column.name),
      typeOid: column.typeOid,
      typeModifier: column.typeModifier,
    })),
  };
}

function columnTraits(
  column: RelationColumn,
  found: CatalogColumn | undefined,
  isKey: boolean,
): Pick<ColumnSchema, 'nullable' | 'attnum' | 'defaultExpression' | 'missingValue'> {
  if (found === undefined || found.typeOid !== column.typeOid) return { nullable: !isKey };
  return {
    nullable: isKey ? false : found.nullable,
    attnum: found.attnum,
    ...(found.defaultExpression === null ? {} : { defaultExpression: found.defaultExpression }),
    ...(found.missingValue === null ? {} : { missingValue: found.missingValue }),
  };
}

/**
 * The columns whose old values every update and delete brings: the stream's own flags, in the order
 * that the catalog's index has them while both name the same columns.
 */
function keyOf(relation: RelationMessage, table: CatalogTable | null): readonly string[] {
  const names = relation.columns.map((column) => column.name);
  const primaryKey = table?.primaryKey ?? [];
  if (relation.replicaIdentity === 'f' || relation.replicaIdentity === 'n') {
    return primaryKey.every((name) => names.includes(name)) ? primaryKey : [];
  }
  const flagged = relation.columns.filter((column) => column.isKey).map((column) => column.name);
  const ordered = relation.replicaIdentity === 'i' ? (table?.identityIndex ?? []) : primaryKey;
  const isSame =
    ordered.length === flagged.length && ordered.every((name) => flagged.includes(name));
  return isSame ? ordered : flagged;
}
