import { ServiceError } from './service-error.ts';
import type { Store } from './store.ts';
import type { TableRef } from './stream-store.ts';
import { fieldResources, type FieldResource, readFields } from './table-schema.ts';
import { checkRow, parseExact, type Row } from './value-rules.ts';

/** Bytes of one row of newline-delimited JSON, at most. */
const rowBytesMax = 100 * 1024 * 1024;

export interface LoadConfig {
  readonly destinationTable: TableRef;
  readonly schema?: { readonly fields: readonly FieldResource[] };
  readonly sourceFormat?: string;
  readonly createDisposition?: string;
  readonly writeDisposition?: string;
  readonly ignoreUnknownValues?: boolean;
  readonly maxBadRecords?: number;
  readonly schemaUpdateOptions?: readonly string[];
  readonly [setting: string]: unknown;
}

const tableSettings = ['timePartitioning', 'rangePartitioning', 'clustering'] as const;

/** Loads newline-delimited JSON: all rows or, beyond `maxBadRecords`, none. Gives the number of rows. */
export async function loadRows(store: Store, load: LoadConfig, content: Buffer): Promise<number> {
  if (load.sourceFormat !== 'NEWLINE_DELIMITED_JSON') {
    throw new ServiceError(
      'invalid',
      `Source format ${load.sourceFormat} is not supported by this stand-in`,
    );
  }
  await prepareTable(store, load);
  const ref = load.destinationTable;
  const { fields } = store.table(ref);
  const rows: Row[] = [];
  let badCount = 0;
  for (const [index, line] of content.toString('utf8').split('\n').entries()) {
    if (line.trim() === '') continue;
    try {
      if (Buffer.byteLength(line) > rowBytesMax)
        throw new ServiceError('invalid', 'Row size is larger than 100 MB');
      rows.push(
        checkRow(fields, parseExact(line) as Record<string, unknown>, load.ignoreUnknownValues),
      );
    } catch (error) {
      badCount += 1;
      if (badCount <= (load.maxBadRecords ?? 0)) continue;
      const why = error instanceof Error ? error.message : String(error);
      throw new ServiceError(
        'invalid',
        `Error while reading data, error message: JSON table encountered too many errors, giving up. Rows: ${index + 1}; errors: ${badCount}. ${why}`,
      );
    }
  }
  await store.append(ref, rows, load.writeDisposition === 'WRITE_TRUNCATE');
  return rows.length;
}

async function prepareTable(store: Store, load: LoadConfig): Promise<void> {
  const { createDisposition, destinationTable: ref, schema, writeDisposition } = load;
  const settings = Object.fromEntries(
    tableSettings.flatMap((name) => (load[name] === undefined ? [] : [[name, load[name]]])),
  );
  if (!store.hasTable(ref)) {
    if (createDisposition === 'CREATE_NEVER' || schema === undefined) store.table(ref);
    await store.createTable(ref, { fields: readFields(schema?.fields ?? []), settings });
    return;
  }
  const { fields } = store.table(ref);
  if (writeDisposition === 'WRITE_EMPTY') {
    throw new ServiceError(
      'duplicate',
      `Already Exists: Table ${ref.projectId}:${ref.datasetId}.${ref.tableId}`,
    );
  }
  if (schema === undefined) return;
  const isSame =
    JSON.stringify(fieldResources(readFields(schema.fields))) ===
    JSON.stringify(fieldResources(fields));
  if (isSame) return;
  if (writeDisposition === 'WRITE_TRUNCATE') {
    await store.dropTable(ref);
    await store.createTable(ref, { fields: readFields(schema.fields), settings });
    return;
  }
  const given = new Map(
    readFields(schema.fields).map((field) => [field.name.toLowerCase(), field]),
  );
  const isSubset = [...given].every(([name, field]) =>
    fields.some((known) => known.name.toLowerCase() === name && known.type === field.type),
  );
  if (isSubset) return;
  if (load.schemaUpdateOptions?.includes('ALLOW_FIELD_ADDITION') !== true) {
    throw new ServiceError(
      'invalid',
      `Provided Schema does not match Table ${ref.projectId}:${ref.datasetId}.${ref.tableId}. Cannot add fields`,
    );
  }
  await store.setFields(ref, schema.fields);
}
