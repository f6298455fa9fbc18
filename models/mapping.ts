import { z } from 'zod';

const columnName = z.string().min(1);
/** "schema.table" as in the source. */
const sourceTable = z.string().regex(/^[^.]+\..+$/, 'write it as schema.table');

/** How a moment is stored. Epochs are whole numbers since 1970. */
const momentSchema = z.strictObject({
  column: columnName,
  as: z.enum(['timestamptz', 'timestamp', 'date', 'epoch_seconds', 'epoch_millis', 'epoch_micros']),
});

const referenceSchema = z.strictObject({
  column: columnName,
  /** null: a soft reference whose table is named by `typeColumn`. */
  table: sourceTable.nullable(),
  targetColumn: columnName.nullable(),
  typeColumn: columnName.nullable(),
  /** A foreign key in the catalog, or only a name that looks like one. */
  declared: z.boolean(),
});

const roleSchema = z.strictObject({
  column: columnName,
  /** The table and column that the value is looked up in, which itself has a master. */
  table: sourceTable,
  targetColumn: columnName,
});

const mappedTableSchema = z.strictObject({
  kind: z.enum(['master', 'entity', 'event']),
  /** Names the staging model: `stg_<service>__<entity>`. */
  service: z.string().regex(/^[a-z][a-z0-9_]*$/),
  entity: z.string().regex(/^[a-z][a-z0-9_]*$/),
  key: z.array(columnName),
  /** Own columns with the master's id and uuid (the subject). */
  master: z.strictObject({ id: columnName.nullable(), uuid: columnName.nullable() }).nullable(),
  /** A table without master columns that hangs on a row which has them. */
  parent: roleSchema.nullable(),
  actor: roleSchema.nullable(),
  /** Values of the tenant column that mean "none", as text. */
  tenant: z.strictObject({ column: columnName, none: z.array(z.string()) }).nullable(),
  event: z
    .strictObject({
      type: columnName.nullable(),
      at: momentSchema,
      status: columnName.nullable(),
      payload: columnName.nullable(),
      metadata: columnName.nullable(),
      entityType: columnName.nullable(),
      entityId: columnName.nullable(),
      previousHash: columnName.nullable(),
      entryHash: columnName.nullable(),
    })
    .nullable(),
  references: z.array(referenceSchema),
  amount: columnName.nullable(),
  createdAt: momentSchema.nullable(),
  updatedAt: momentSchema.nullable(),
  /** Shown as a hash in change records and timelines. */
  masked: z.array(columnName),
  /** Never leaves staging. */
  denied: z.array(columnName),
});

/** `mapping.yaml`: what discovery understood of a database, for a person to review and correct. */
export const mappingSchema = z.strictObject({
  version: z.literal(1),
  master: z
    .strictObject({
      table: sourceTable,
      id: columnName,
      uuid: columnName.nullable(),
      type: columnName.nullable(),
      name: columnName.nullable(),
      createdAt: momentSchema.nullable(),
      updatedAt: momentSchema.nullable(),
    })
    .nullable(),
  tables: z.record(sourceTable, mappedTableSchema),
});

export type Mapping = z.infer<typeof mappingSchema>;
export type MappedTable = z.infer<typeof mappedTableSchema>;
