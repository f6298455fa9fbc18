import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { appendCells } from './duckdb-values.ts';
import { parseJsonFunction } from './json-value.ts';
import { ServiceError } from './service-error.ts';
import { functionMacros } from './sql/macros.ts';
import {
  compareSequences,
  type KeyedChange,
  type StreamStore,
  type TableRef,
  type TableSchema,
} from './stream-store.ts';
import {
  checkSchemaUpdate,
  columnsMax,
  duckdbType,
  type Field,
  type FieldResource,
  quoteName,
  readFields,
} from './table-schema.ts';
import type { Row } from './value-rules.ts';

/** How long streamed rows are shut to mutations inside a transaction. */
const streamedMs = 30 * 60 * 1000;

/** What REST says of a table besides its columns; kept as given. */
export interface TableSettings {
  readonly timePartitioning?: object;
  readonly rangePartitioning?: object;
  readonly clustering?: { readonly fields: readonly string[] };
  readonly labels?: Readonly<Record<string, string>>;
  readonly description?: string;
  /** Milliseconds since 1970, as text. */
  readonly expirationTime?: string;
  readonly tableConstraints?: { readonly primaryKey?: { readonly columns: readonly string[] } };
  readonly requirePartitionFilter?: boolean;
  readonly maxStaleness?: string;
}

export interface StoredTable {
  readonly ref: TableRef;
  /** SQL of a view; undefined for a table. */
  readonly viewQuery: string | undefined;
  readonly fields: readonly Field[];
  readonly settings: TableSettings;
  readonly schemaVersion: number;
  readonly createdMs: number;
  readonly modifiedMs: number;
}

/** How concurrent transactions see a table. */
interface Mutations {
  /** Number of the last commit that mutated rows. */
  committed: number;
  /** The open transaction that mutates rows. */
  holder: object | undefined;
  streamedUntilMs: number;
  readonly sequences: Map<string, string | undefined>;
}

export interface NewTable {
  readonly fields: readonly Field[];
  readonly settings: TableSettings;
  readonly viewQuery?: string;
}

const schemaOf = ({ projectId, datasetId }: Omit<TableRef, 'tableId'>): string =>
  `${projectId}.${datasetId}`;
export const duckdbName = (ref: TableRef): string =>
  `${quoteName(schemaOf(ref))}.${quoteName(ref.tableId)}`;
export const restName = ({ projectId, datasetId, tableId }: TableRef): string =>
  `${projectId}:${datasetId}.${tableId}`;
const keyOf = (ref: TableRef): string => restName(ref);

/** Projects, datasets and tables with their rows, in memory. */
export class Store implements StreamStore, AsyncDisposable {
  readonly now: () => number;
  readonly #instance: DuckDBInstance;
  readonly #datasets = new Map<string, Readonly<Record<string, unknown>>>();
  readonly #tables = new Map<string, StoredTable>();
  readonly #mutations = new Map<string, Mutations>();
  #commits = 0;

  private constructor(instance: DuckDBInstance, now: () => number) {
    this.#instance = instance;
    this.now = now;
  }

  /** An empty store whose clock is `now`, milliseconds since 1970. */
  static async open(now: () => number = Date.now): Promise<Store> {
    // Statements reach nothing outside the store.
    const settings = { threads: '1', enable_external_access: 'false' };
    const store = new Store(await DuckDBInstance.create(':memory:', settings), now);
    const connection = await store.connect();
    connection.registerScalarFunction(parseJsonFunction('bq_json_exact', 'exact'));
    connection.registerScalarFunction(parseJsonFunction('bq_json_round', 'round'));
    for (const macro of functionMacros) await connection.run(macro);
    connection.closeSync();
    return store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#instance.closeSync();
  }

  /** A connection of DuckDB that behaves as BigQuery where DuckDB has a setting for it. */
  async connect(): Promise<DuckDBConnection> {
    const connection = await this.#instance.connect();
    await connection.run(
      `set timezone = 'UTC'; set default_null_order = 'nulls_first_on_asc_last_on_desc'`,
    );
    return connection;
  }

  async #run(sql: string): Promise<void> {
    const connection = await this.connect();
    try {
      await connection.run(sql);
    } finally {
      connection.closeSync();
    }
  }

  async createDataset(
    ref: Omit<TableRef, 'tableId'>,
    resource: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    const key = schemaOf(ref);
    if (this.#datasets.has(key)) {
      throw new ServiceError(
        'duplicate',
        `Already Exists: Dataset ${ref.projectId}:${ref.datasetId}`,
      );
    }
    await this.#run(`create schema ${quoteName(key)}`);
    this.#datasets.set(key, resource);
  }

  dataset(ref: Omit<TableRef, 'tableId'>): Readonly<Record<string, unknown>> {
    const dataset = this.#datasets.get(schemaOf(ref));
    if (dataset === undefined) {
      throw new ServiceError('notFound', `Not found: Dataset ${ref.projectId}:${ref.datasetId}`);
    }
    return dataset;
  }

  /** Names of a project's datasets. */
  datasets(projectId: string): string[] {
    const prefix = `${projectId}.`;
    const keys = [...this.#datasets.keys()].filter((key) => key.startsWith(prefix));
    return keys.map((key) => key.slice(prefix.length)).toSorted();
  }

  patchDataset(ref: Omit<TableRef, 'tableId'>, change: Readonly<Record<string, unknown>>): void {
    this.#datasets.set(schemaOf(ref), { ...this.dataset(ref), ...change });
  }

  async deleteDataset(ref: Omit<TableRef, 'tableId'>, hasContents: boolean): Promise<void> {
    this.dataset(ref);
    const tables = this.tables(ref);
    if (tables.length > 0 && !hasContents) {
      throw new ServiceError(
        'invalid',
        `Dataset ${ref.projectId}:${ref.datasetId} is still in use`,
      );
    }
    for (const table of tables) await this.dropTable(table.ref);
    await this.#run(`drop schema ${quoteName(schemaOf(ref))} cascade`);
    this.#datasets.delete(schemaOf(ref));
  }

  /** The tables of a dataset that have not expired, by name. */
  tables(ref: Omit<TableRef, 'tableId'>): StoredTable[] {
    this.dataset(ref);
    return [...this.#tables.values()]
      .filter((table) => schemaOf(table.ref) === schemaOf(ref) && !this.#isExpired(table))
      .toSorted((a, b) => (a.ref.tableId < b.ref.tableId ? -1 : 1));
  }

  #isExpired(table: StoredTable): boolean {
    const { expirationTime } = table.settings;
    return expirationTime !== undefined && Number(expirationTime) <= this.now();
  }

  hasTable(ref: TableRef): boolean {
    const table = this.#tables.get(keyOf(ref));
    return table !== undefined && !this.#isExpired(table);
  }

  table(ref: TableRef): StoredTable {
    const table = this.#tables.get(keyOf(ref));
    if (table === undefined || this.#isExpired(table)) {
      throw new ServiceError('notFound', `Not found: Table ${restName(ref)}`);
    }
    return table;
  }

  tableSchema(ref: TableRef): TableSchema {
    const { fields, schemaVersion, settings } = this.table(ref);
    const primaryKey = settings.tableConstraints?.primaryKey?.columns ?? [];
    return { fields, schemaVersion, primaryKey };
  }

  /** Creates a table, or a view whose SQL for DuckDB is given apart. */
  async createTable(ref: TableRef, table: NewTable, viewSql?: string): Promise<void> {
    this.dataset(ref);
    if (this.hasTable(ref))
      throw new ServiceError('duplicate', `Already Exists: Table ${restName(ref)}`);
    if (this.#tables.has(keyOf(ref))) await this.dropTable(ref);
    const { fields, settings, viewQuery } = table;
    if (fields.length > columnsMax) {
      throw new ServiceError(
        'invalid',
        `Too many columns: ${fields.length}; at most ${columnsMax}`,
      );
    }
    const columns = fields.map((field) => `${quoteName(field.name)} ${columnType(field)}`);
    await this.#run(
      viewSql === undefined
        ? `create table ${duckdbName(ref)} (${columns.length === 0 ? 'no_column boolean' : columns.join(', ')})`
        : `create view ${duckdbName(ref)} as ${viewSql}`,
    );
    const at = this.now();
    this.#tables.set(keyOf(ref), {
      ref,
      fields,
      settings,
      viewQuery,
      schemaVersion: 1,
      createdMs: at,
      modifiedMs: at,
    });
  }

  async dropTable(ref: TableRef): Promise<void> {
    const table = this.#tables.get(keyOf(ref));
    if (table === undefined)
      throw new ServiceError('notFound', `Not found: Table ${restName(ref)}`);
    await this.#run(`drop ${table.viewQuery === undefined ? 'table' : 'view'} ${duckdbName(ref)}`);
    this.#tables.delete(keyOf(ref));
    this.#mutations.delete(keyOf(ref));
  }

  /** Changes what is not columns. */
  setSettings(ref: TableRef, settings: TableSettings): void {
    this.#tables.set(keyOf(ref), { ...this.table(ref), settings, modifiedMs: this.now() });
  }

  /** Adds, relaxes and widens columns; everything else is refused as BigQuery does. */
  async setFields(ref: TableRef, resources: readonly FieldResource[]): Promise<void> {
    const table = this.table(ref);
    const fields = readFields(resources);
    if (fields.length > columnsMax) {
      throw new ServiceError(
        'invalid',
        `Too many columns: ${fields.length}; at most ${columnsMax}`,
      );
    }
    checkSchemaUpdate(restName(ref), table.fields, fields);
    const old = new Map(table.fields.map((field) => [field.name.toLowerCase(), field]));
    const alter = `alter table ${duckdbName(ref)}`;
    for (const field of fields) {
      const known = old.get(field.name.toLowerCase());
      const column = quoteName(field.name);
      if (known === undefined)
        await this.#run(`${alter} add column ${column} ${columnType(field)}`);
      else if (duckdbType(known) !== duckdbType(field)) {
        const using = field.type === 'BIGNUMERIC' ? ` using bq_bignumeric(${column})` : '';
        await this.#run(`${alter} alter ${column} type ${duckdbType(field)}${using}`);
      }
      if (known?.mode === 'REQUIRED' && field.mode === 'NULLABLE') {
        await this.#run(`${alter} alter ${column} drop not null`);
      }
    }
    // New columns stand at the end, wherever the request names them.
    const byName = new Map(fields.map((field) => [field.name.toLowerCase(), field]));
    const kept = table.fields.map((field) => byName.get(field.name.toLowerCase()) ?? field);
    const added = fields.filter((field) => !old.has(field.name.toLowerCase()));
    this.#tables.set(keyOf(ref), {
      ...table,
      fields: [...kept, ...added],
      schemaVersion: table.schemaVersion + 1,
      modifiedMs: this.now(),
    });
  }

  /** Appends checked rows in a transaction of its own, after removing what is there if asked to. */
  async append(ref: TableRef, rows: readonly Row[], isTruncating = false): Promise<void> {
    const { fields } = this.table(ref);
    await this.#transact(async (connection) => {
      if (isTruncating) await connection.run(`delete from ${duckdbName(ref)}`);
      await appendCells(connection, { schema: schemaOf(ref), name: ref.tableId, fields }, rows);
    });
  }

  async appendStreamed(ref: TableRef, rows: readonly Row[]): Promise<void> {
    await this.append(ref, rows);
    this.mutations(ref).streamedUntilMs = this.now() + streamedMs;
  }

  async applyChanges(ref: TableRef, changes: readonly KeyedChange[]): Promise<void> {
    const { fields, primaryKey } = this.tableSchema(ref);
    if (primaryKey.length === 0) {
      throw new ServiceError(
        'invalid',
        `Table ${restName(ref)} has no primary key, which changes need`,
      );
    }
    const { sequences } = this.mutations(ref);
    const newest = new Map<string, KeyedChange>();
    const next = new Map<string, string | undefined>();
    for (const change of changes) {
      const key = primaryKey
        .map((column) => `${change.row[column] as string | number | bigint}`)
        .join('\u0000');
      const known = next.has(key) ? next.get(key) : sequences.get(key);
      if (known !== undefined && change.sequence === undefined) {
        throw new ServiceError(
          'invalid',
          '_CHANGE_SEQUENCE_NUMBER must be given once it was given',
        );
      }
      if (known !== undefined && compareSequences(change.sequence ?? '', known) < 0) continue;
      next.set(key, change.sequence);
      newest.set(key, change);
    }
    const target = { schema: schemaOf(ref), name: ref.tableId, fields };
    const kept = [...newest.values()];
    await this.#transact(async (connection) => {
      await connection.run(`create temp table changed as from ${duckdbName(ref)} limit 0`);
      await appendCells(
        connection,
        { ...target, schema: 'main', name: 'changed' },
        kept.map(({ row }) => row),
      );
      const same = primaryKey.map(
        (column) => `old.${quoteName(column)} = changed.${quoteName(column)}`,
      );
      await connection.run(
        `delete from ${duckdbName(ref)} old using changed where ${same.join(' and ')}`,
      );
      const upserts = kept.filter(({ type }) => type === 'UPSERT');
      await appendCells(
        connection,
        target,
        upserts.map(({ row }) => row),
      );
      await connection.run('drop table changed');
    });
    for (const [key, sequence] of next) sequences.set(key, sequence);
  }

  async #transact(work: (connection: DuckDBConnection) => Promise<void>): Promise<void> {
    const connection = await this.connect();
    try {
      await connection.run('begin');
      await work(connection);
      await connection.run('commit');
    } finally {
      connection.closeSync();
    }
  }

  mutations(ref: TableRef): Mutations {
    const key = keyOf(ref);
    const known = this.#mutations.get(key);
    if (known !== undefined) return known;
    const fresh = { committed: 0, holder: undefined, streamedUntilMs: 0, sequences: new Map() };
    this.#mutations.set(key, fresh);
    return fresh;
  }

  get commits(): number {
    return this.#commits;
  }

  /** Numbers a commit that mutated these tables. */
  noteCommit(refs: Iterable<TableRef>): void {
    this.#commits += 1;
    for (const ref of refs) this.mutations(ref).committed = this.#commits;
  }
}

const columnType = (field: Field): string =>
  duckdbType(field) + (field.mode === 'REQUIRED' ? ' not null' : '');
