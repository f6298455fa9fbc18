import type { Log, OffsetRange } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { CatalogType } from '../schemas/catalog.ts';
import { controlTopics } from '../schemas/control.ts';
import { type Partitioning, partitionOf, stablePartitionOf } from '../schemas/murmur2.ts';
import type { PositionText } from '../schemas/position.ts';
import { tableName, type TableSchema, type TableVersion } from '../schemas/table-schema.ts';
import { topicOf, topicsOf } from '../schemas/topic.ts';
import type { PartitionBuffer } from './batcher.ts';
import { describeTable, relationOf } from './describe-table.ts';
import type { ParkedTables } from './parked-tables.ts';
import type { RelationMessage } from './pgoutput/message.ts';
import { formatTypes, isPartition, readTables, readTypes } from './postgres/catalog.ts';
import type { RewriteMarks, Rewrites } from './rewrites.ts';
import { rewritesRows } from './rewrites-rows.ts';
import type { SqlSession } from './postgres/connection.ts';
import { readRewriteMarks } from './postgres/rewrite-marks.ts';
import type { PublishedTable } from './postgres/publication.ts';
import { compilePatterns, type TablePatterns } from './postgres/table-patterns.ts';
import { type RegisteredSchemas, SchemaIds, type SchemaIdsOptions } from './schema-ids.ts';
import type { ChunkEmission } from './snapshot/snapshot.ts';
import { TableHistory } from './table-history.ts';
import { compileTranscoder } from './transcode/compile-transcoder.ts';
import type { Transcoder } from './transcode/transcoder.ts';

export interface TablesOptions extends Omit<SchemaIdsOptions, 'history'> {
  readonly session: SqlSession;
  readonly log: Log;
  readonly parked: ParkedTables;
  readonly rewrites: Rewrites;
  readonly patterns: TablePatterns;
  readonly database: string;
  /** Partitions of a topic that is created now. */
  readonly partitions: number;
  readonly partitioning: Partitioning;
  /** `source.connector` and `source.version` of the envelopes. */
  readonly connector: string;
  readonly version: string;
  /** Rows of the table have other values than the stream and the log say, without row events. */
  readonly onRewritten: (table: TableSchema) => void;
  /** A table is held back from now on: reading it would be for nothing. */
  readonly onParked: (table: TableSchema) => void;
  /** A parked table has another schema: the registry may take that one. */
  readonly onParkedChanged: () => void;
}

/** A table version ready for use: where its records go and what makes them. */
export interface TableRoute {
  readonly version: TableVersion;
  readonly table: TableSchema;
  readonly transcoder: Transcoder;
  /** One a partition. */
  readonly buffers: readonly PartitionBuffer[];
  /** Index of the buffer for a record with this key. */
  readonly partitionOf: (key: Buffer | null) => number;
}

/**
 * The relations that the stream has named, by oid: the newest version of each table, with topic,
 * schemas and transcoder. A version is durable in the schemas topic before its first record.
 */
export class Tables {
  readonly #options: TablesOptions;
  readonly #matches: (name: string) => boolean;
  readonly #history: TableHistory;
  readonly #schemaIds: SchemaIds;
  /** null: named by the stream, but not wanted. */
  readonly #routes = new Map<number, TableRoute | null>();
  /** Named by the stream, and left undefined until a change is of them. */
  readonly #partitions = new Map<number, RelationMessage>();
  readonly #buffers = new Map<string, readonly PartitionBuffer[]>();
  /** Topics that were compared with what is configured. */
  readonly #ensured = new Set<string>();
  /** topic → the table that it belongs to. */
  readonly #owners = new Map<string, { readonly schema: string; readonly name: string }>();
  #types: ReadonlyMap<number, CatalogType> | null = null;

  constructor(options: TablesOptions) {
    this.#options = options;
    this.#matches = compilePatterns(options.patterns);
    this.#history = new TableHistory(options.log, controlTopics(options.prefix).schemas);
    this.#schemaIds = new SchemaIds({ ...options, history: this.#history });
  }

  /** Tables that are held back. */
  get parked(): ParkedTables {
    return this.#options.parked;
  }

  /**
   * Looks which of the published tables were rewritten at the source since the last look, and gives them
   * as the catalog has them now. A table that is seen for the first time was not.
   */
  async rewritten(published: readonly PublishedTable[]): Promise<readonly TableSchema[]> {
    const { session, rewrites } = this.#options;
    const wanted = published.filter((table) => this.isWanted(table));
    const oids = wanted.map((table) => table.oid);
    rewrites.keep(new Set(oids));
    const found = new Set(rewrites.take(await readRewriteMarks(session, oids)));
    return await this.describe(
      wanted.filter((table) => found.has(table.oid) && !this.parked.has(table)),
    );
  }

  /** What tells of rewritten rows: belongs into the progress record. */
  get rewriteMarks(): RewriteMarks {
    return this.#options.rewrites.state();
  }

  /** Reads the versions that the log knows, and the topics that it has. */
  async load(ranges: ReadonlyMap<string, readonly OffsetRange[]>): Promise<void> {
    await this.#history.load();
    for (const [topic, partitions] of ranges) {
      this.#addBuffers(
        topic,
        partitions.map((range) => range.end > 0),
      );
    }
  }

  /** Whether the log ever got a record of the table. */
  hasRecords(table: { readonly schema: string; readonly name: string }): boolean {
    const topic = topicOf(this.#options.prefix, table.schema, table.name);
    return this.#buffers.get(topic)?.some((buffer) => buffer.isUsed) ?? false;
  }

  /** The route of a relation; null when the table is not wanted, undefined when it was never named. */
  route(oid: number): TableRoute | null | undefined {
    return this.#routes.get(oid);
  }

  isWanted(table: { readonly schema: string; readonly name: string }): boolean {
    return this.#matches(tableName(table));
  }

  /**
   * Takes a Relation message; the promise, if any, settles when the version is durable. pgoutput sends
   * it again after anything that may have changed the table, so the catalog is asked each time.
   */
  relation(message: RelationMessage, from: PositionText): Promise<void> | undefined {
    if (this.isWanted(message)) return this.#name(message, from);
    this.#routes.set(message.oid, null);
    return undefined;
  }

  /** Whether a change of the relation has to wait until `defineLate` settles. */
  isPutOff(oid: number): boolean {
    return this.#partitions.has(oid);
  }

  /** Defines relations that were put off, because changes of them follow. */
  async defineLate(oids: readonly number[], from: PositionText): Promise<void> {
    for (const oid of oids) {
      const message = this.#partitions.get(oid);
      if (message === undefined) continue;
      await this.#define(message, from);
      this.#partitions.delete(oid);
    }
  }

  /** Tables as the catalog has them now, for the snapshot; in the order given. */
  async describe(published: readonly PublishedTable[]): Promise<readonly TableSchema[]> {
    const { session } = this.#options;
    const catalog = await readTables(
      session,
      published.map((table) => table.oid),
    );
    const byOid = new Map(catalog.map((table) => [table.oid, table]));
    const described: TableSchema[] = [];
    for (const { oid, columns } of published) {
      const table = byOid.get(oid);
      if (table === undefined) continue;
      const relation = relationOf(table, columns);
      const pgTypes = relation.columns.map(
        (column) => table.columns.find((known) => known.name === column.name)?.pgType ?? '',
      );
      const types = await this.#typesOf(relation);
      described.push(describeTable(relation, { table, types, pgTypes }));
    }
    return described;
  }

  /**
   * The route for rows of exactly this table version, which the stream may not have named (yet); null
   * for a table that stays parked.
   */
  async routeFor(
    { table, reopens }: ChunkEmission,
    from: PositionText,
  ): Promise<TableRoute | null> {
    if (this.parked.has(table)) return reopens ? await this.#reopen(table, from) : null;
    const current = this.#routes.get(table.oid);
    if (current && JSON.stringify(current.table) === JSON.stringify(table)) return current;
    return await this.#routeUnlessParked(table, from);
  }

  /** Whether the registry takes the schemas of a parked table: throws what it says if not. */
  async accept(table: TableSchema): Promise<RegisteredSchemas> {
    return await this.#schemaIds.register(table, this.#topicOf(table));
  }

  /**
   * pgoutput names a partition also where its rows go under its root's name: it would be a table without
   * a row, on the log and in the lake. The catalog may be newer than the stream, so it decides nothing.
   */
  async #name(message: RelationMessage, from: PositionText): Promise<void> {
    const { oid } = message;
    const isFirst = this.#routes.get(oid) === undefined && !this.parked.has(message);
    if (isFirst && (await isPartition(this.#options.session, oid))) {
      this.#partitions.set(oid, message);
      return;
    }
    this.#partitions.delete(oid);
    await this.#define(message, from);
  }

  async #define(message: RelationMessage, from: PositionText): Promise<void> {
    const { session, rewrites } = this.#options;
    const [table] = await readTables(session, [message.oid]);
    const types = await this.#typesOf(message);
    const pgTypes = await formatTypes(session, message.columns);
    const described = describeTable(message, { table: table ?? null, types, pgTypes });
    const rewritten = rewrites.take(await readRewriteMarks(session, [message.oid])).length > 0;
    if (this.parked.has(described)) {
      this.#routes.set(message.oid, null);
      this.parked.streamed(described);
      this.#options.onParkedChanged();
      return;
    }
    const current = this.#routes.get(message.oid);
    const isSame = current && JSON.stringify(current.table) === JSON.stringify(described);
    const topic = this.#topicOf(described);
    const before = current?.table ?? this.#history.heldAt(topic, from)?.table;
    const route = isSame ? current : await this.#routeUnlessParked(described, from);
    this.#routes.set(message.oid, route);
    if (route === null) return;
    const changed = !isSame && before !== undefined && rewritesRows(before, described);
    if (rewritten || changed) this.#options.onRewritten(described);
  }

  /** From here on the changes of a parked table are taken again. */
  async #reopen(table: TableSchema, from: PositionText): Promise<TableRoute | null> {
    const route = this.parked.mayReopen(table) ? await this.#routeUnlessParked(table, from) : null;
    if (route === null) {
      this.parked.refused(tableName(table), null);
      this.#options.onParked(table);
      this.#options.onParkedChanged();
      return null;
    }
    // Without the version that the stream has, a change must bring its Relation message first.
    if (this.parked.release(table)) this.#routes.set(table.oid, route);
    else this.#routes.delete(table.oid);
    this.#options.observe({ type: 'parked', tables: this.parked.size });
    return route;
  }

  /** Null when the registry does not take the schema and the table is to be held back for it. */
  async #routeUnlessParked(table: TableSchema, from: PositionText): Promise<TableRoute | null> {
    try {
      return await this.#routeOf(table, from);
    } catch (error) {
      if (!(error instanceof PipelineError) || error.kind !== 'schema-incompatible') throw error;
      if (!this.parked.has(table)) this.#park(table, { since: from, reason: error.message });
      return null;
    }
  }

  #park(table: TableSchema, note: { readonly since: PositionText; readonly reason: string }): void {
    this.parked.park(table, note);
    this.#routes.set(table.oid, null);
    this.#options.logger.error(
      `${tableName(table)} is parked, its changes from position ${note.since} on are not captured: ${note.reason}; once the registry takes the schema, or registry.tables says evolve, the table is read again`,
    );
    this.#options.observe({ type: 'parked', tables: this.parked.size });
    this.#options.onParked(table);
  }

  async #routeOf(table: TableSchema, from: PositionText): Promise<TableRoute> {
    const { prefix, database, connector, version: connectorVersion } = this.#options;
    const topic = this.#topicOf(table);
    const ids = await this.#schemaIds.of(table, topic, from);
    const { keySchemaId, valueSchemaId, schemaDigest } = ids;
    const buffers = await this.#ensureTopic(topic, keySchemaId !== null);
    const version = await this.#history.record({
      topic,
      valueSchemaId,
      keySchemaId,
      schemaDigest,
      from,
      table,
    });
    const transcoder = compileTranscoder({
      table,
      prefix,
      database,
      keySchemaId,
      valueSchemaId,
      connector,
      version: connectorVersion,
    });
    const place = this.#options.partitioning === 'stable' ? stablePartitionOf : partitionOf;
    return {
      version,
      table,
      transcoder,
      buffers,
      partitionOf: (recordKey) => place(recordKey, buffers.length),
    };
  }

  /** Throws `source-unfit` when another table has the same topic. */
  #topicOf(table: TableSchema): string {
    const { schema, name } = table;
    const { prefix } = this.#options;
    const topic = topicOf(prefix, schema, name);
    const owner = this.#owners.get(topic);
    const isOther = owner !== undefined && tableName(owner) !== tableName(table);
    // Throws with both names, and for a name that is too long.
    topicsOf(prefix, isOther ? [owner, { schema, name }] : [{ schema, name }]);
    this.#owners.set(topic, { schema, name });
    return topic;
  }

  async #ensureTopic(topic: string, keyed: boolean): Promise<readonly PartitionBuffer[]> {
    const known = this.#buffers.get(topic);
    if (known !== undefined && this.#ensured.has(topic)) return known;
    const { partitions, log } = this.#options;
    // Also for a topic that exists: the log refuses one with another number of partitions, in which a
    // key's records would no longer follow one another.
    await log.createTopics([{ topic, partitions, compacted: false, keyed }]);
    this.#ensured.add(topic);
    if (known !== undefined) return known;
    return this.#addBuffers(
      topic,
      Array.from({ length: partitions }, () => false),
    );
  }

  #addBuffers(topic: string, areUsed: readonly boolean[]): readonly PartitionBuffer[] {
    const buffers = areUsed.map((isUsed, partition) => ({ topic, partition, isUsed, records: [] }));
    this.#buffers.set(topic, buffers);
    return buffers;
  }

  /** The catalog's types; read again when a relation uses one that is not known, or that may have new labels. */
  async #typesOf(relation: RelationMessage): Promise<ReadonlyMap<number, CatalogType>> {
    const known = this.#types;
    const isSettled = relation.columns.every(({ typeOid }) => {
      if (typeOid < firstUserOid) return true;
      const type = known?.get(typeOid);
      return type !== undefined && type.kind !== 'e' && type.kind !== 'd' && type.elementOid === 0;
    });
    if (known !== null && isSettled) return known;
    const types = await readTypes(this.#options.session);
    this.#types = types;
    return types;
  }
}

/** Objects that users create have oids from here on (FirstNormalObjectId). */
const firstUserOid = 16_384;
