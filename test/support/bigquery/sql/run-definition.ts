import { ServiceError } from '../service-error.ts';
import { duckdbName, type TableSettings } from '../store.ts';
import type { TableRef } from '../stream-store.ts';
import {
  type Field,
  type FieldResource,
  fieldResources,
  quoteName,
  readFields,
} from '../table-schema.ts';
import { Cursor, readColumn, readDefinition, readOptions } from './definition.ts';
import { resultField } from './query-result.ts';
import type { ScriptRun } from './run-script.ts';
import { checkStored } from './stored-rules.ts';
import { splitAt, type Token } from './tokens.ts';
import { translate } from './translate.ts';
import { readType } from './types.ts';

function permanent(run: ScriptRun, parts: readonly string[]): TableRef {
  if (run.transaction !== undefined) {
    throw new ServiceError(
      'invalidQuery',
      'DDL statements on permanent entities are not supported inside a transaction',
    );
  }
  const ref = run.resolve(parts);
  if (ref === undefined)
    throw new ServiceError(
      'invalidQuery',
      `Table "${parts.join('.')}" must be qualified with a dataset`,
    );
  return ref;
}

async function expiring(
  run: ScriptRun,
  settings: TableSettings,
  expiration?: readonly Token[],
): Promise<TableSettings> {
  if (expiration === undefined) return settings;
  const read = await run.connection.runAndReadAll(
    `select epoch_ms((${translate(expiration, run)})::timestamptz)`,
  );
  return { ...settings, expirationTime: String(read.getRows()[0]?.[0]) };
}

async function fieldsOf(run: ScriptRun, sql: string): Promise<Field[]> {
  const read = await run.connection.runAndReadAll(`select * from (${sql}) limit 0`);
  const types = read.columnTypes();
  return read
    .columnNames()
    .map((name, index) => resultField(name, types[index] as (typeof types)[number]));
}

/** CREATE TABLE and CREATE VIEW. */
export async function defineTable(run: ScriptRun, tokens: readonly Token[]): Promise<void> {
  const definition = readDefinition(tokens);
  const { columns, isIfNotExists, isReplacing, path, query, what } = definition;
  run.statementType = `CREATE_${what.toUpperCase()}${what === 'table' && query !== undefined ? '_AS_SELECT' : ''}`;
  const sql = query === undefined ? undefined : translate(query, run);
  if (definition.isTemporary) {
    if (sql === undefined)
      throw new ServiceError('invalidQuery', 'A temporary table needs AS SELECT in this stand-in');
    await run.connection.run(`create temp table ${quoteName(path[0] ?? '')} as ${sql}`);
    return;
  }
  const ref = permanent(run, path);
  if (run.store.hasTable(ref)) {
    if (isIfNotExists) return;
    if (isReplacing) await run.store.dropTable(ref);
  }
  const fields =
    columns === undefined ? await fieldsOf(run, sql ?? 'select 1') : readFields(columns);
  const settings = await expiring(run, definition.settings, definition.expiration);
  if (what === 'view') {
    const start = run.request.sql.search(/\bas\b\s*(select|with|\()/i);
    const viewQuery = run.request.sql
      .slice(start + 2)
      .trim()
      .replace(/;\s*$/, '');
    await run.store.createTable(ref, { fields, settings, viewQuery }, sql);
    return;
  }
  await run.store.createTable(ref, { fields, settings });
  if (sql === undefined) return;
  try {
    await run.atomically(async () => {
      await run.connection.run(`insert into ${duckdbName(ref)} ${sql}`);
      await checkStored(run.connection, duckdbName(ref), fields);
    });
  } catch (error) {
    await run.store.dropTable(ref);
    throw error;
  }
}

/** ALTER TABLE: ADD COLUMN, ADD PRIMARY KEY, ALTER COLUMN and SET OPTIONS. */
export async function alterTable(run: ScriptRun, tokens: readonly Token[]): Promise<void> {
  const cursor = new Cursor(tokens);
  cursor.expect('ALTER', 'TABLE');
  const isIfExists = cursor.accept('IF', 'EXISTS');
  const ref = permanent(run, cursor.path());
  run.statementType = 'ALTER_TABLE';
  if (isIfExists && !run.store.hasTable(ref)) return;
  const { fields, settings } = run.store.table(ref);
  if (cursor.accept('SET', 'OPTIONS')) {
    const options = readOptions(cursor.list());
    cursor.end();
    run.store.setSettings(
      ref,
      await expiring(run, { ...settings, ...options.settings }, options.expiration),
    );
    return;
  }
  if (cursor.accept('ADD', 'PRIMARY', 'KEY')) {
    const columns = cursor.list().map((part) => part[0]?.text ?? '');
    cursor.expect('NOT', 'ENFORCED');
    run.store.setSettings(ref, { ...settings, tableConstraints: { primaryKey: { columns } } });
    return;
  }
  let next: FieldResource[] = fieldResources(fields);
  for (const action of splitAt(cursor.rest(), ',')) next = changeColumns(next, action);
  await run.store.setFields(ref, next);
}

function changeColumns(
  fields: readonly FieldResource[],
  action: readonly Token[],
): FieldResource[] {
  const cursor = new Cursor(action);
  if (cursor.accept('ADD', 'COLUMN')) {
    const isIfNotExists = cursor.accept('IF', 'NOT', 'EXISTS');
    const column = readColumn(cursor.rest());
    const isThere = fields.some(({ name }) => name.toLowerCase() === column.name.toLowerCase());
    if (isThere && !isIfNotExists)
      throw new ServiceError('invalidQuery', `Column already exists: ${column.name}`);
    return isThere ? [...fields] : [...fields, column];
  }
  cursor.expect('ALTER', 'COLUMN');
  const [name = ''] = cursor.path();
  if (!fields.some((field) => field.name.toLowerCase() === name.toLowerCase())) {
    throw new ServiceError('invalidQuery', `Column not found: ${name}`);
  }
  let change: (field: FieldResource) => FieldResource;
  if (cursor.accept('DROP', 'NOT', 'NULL')) change = (field) => ({ ...field, mode: 'NULLABLE' });
  else {
    cursor.expect('SET', 'DATA', 'TYPE');
    const type = readType(name, cursor.rest());
    change = (field) => ({ ...type, name: field.name, mode: field.mode ?? 'NULLABLE' });
  }
  cursor.end();
  return fields.map((field) =>
    field.name.toLowerCase() === name.toLowerCase() ? change(field) : field,
  );
}

/** DROP TABLE and DROP VIEW. */
export async function dropTable(run: ScriptRun, tokens: readonly Token[]): Promise<void> {
  const cursor = new Cursor(tokens);
  cursor.expect('DROP');
  const isView = cursor.accept('VIEW');
  if (!isView) cursor.expect('TABLE');
  const isIfExists = cursor.accept('IF', 'EXISTS');
  const ref = permanent(run, cursor.path());
  cursor.end();
  run.statementType = isView ? 'DROP_VIEW' : 'DROP_TABLE';
  if (isIfExists && !run.store.hasTable(ref)) return;
  if ((run.store.table(ref).viewQuery !== undefined) !== isView) {
    throw new ServiceError('invalidQuery', `${ref.tableId} is ${isView ? 'not ' : ''}a view`);
  }
  await run.store.dropTable(ref);
}
