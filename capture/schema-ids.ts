import { createHash } from 'node:crypto';
import { PipelineError } from '../runtime/errors.ts';
import { retry } from '../runtime/retry.ts';
import { keySchema, schemaText, valueSchema } from '../schemas/avro.ts';
import type { PositionText } from '../schemas/position.ts';
import type { SchemaRegistry, WhenIncompatible } from '../schemas/registry.ts';
import { tableName, type TableSchema, type TableVersion } from '../schemas/table-schema.ts';
import type { CaptureEvent, CaptureLogger } from './options.ts';
import type { TableHistory } from './table-history.ts';

export interface SchemaIdsOptions {
  readonly registry: SchemaRegistry;
  readonly history: TableHistory;
  readonly prefix: string;
  readonly incompatible: (table: string) => WhenIncompatible | undefined;
  readonly retry: RegistryPatience;
  readonly logger: CaptureLogger;
  readonly observe: (event: CaptureEvent) => void;
}

/** How long a registry that is away is waited for. */
export interface RegistryPatience {
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  readonly giveUpAfterMs: number;
  readonly signal: AbortSignal;
}

export type RegisteredSchemas = Required<
  Pick<TableVersion, 'valueSchemaId' | 'keySchemaId' | 'schemaDigest'>
>;

/**
 * Registry ids of table versions. What the log knows needs no registry; anything new waits for it, and
 * with it the stream, so that nothing is confirmed beyond.
 */
export class SchemaIds {
  readonly #options: SchemaIdsOptions;

  constructor(options: SchemaIdsOptions) {
    this.#options = options;
  }

  /** Ids for records of `table` from a position on. Throws `schema-incompatible` when the table is to be parked. */
  async of(table: TableSchema, topic: string, from: PositionText): Promise<RegisteredSchemas> {
    const texts = this.#textsOf(table);
    const held = this.#options.history.heldAt(topic, from);
    if (held?.schemaDigest === texts.digest) {
      const { keySchemaId, valueSchemaId } = held;
      return { keySchemaId, valueSchemaId, schemaDigest: texts.digest };
    }
    const { logger, observe, retry: patience } = this.#options;
    // While draining there is one try: what was received is to become durable, but nobody waits any more.
    if (patience.signal.aborted) return await this.register(table, topic);
    const startedMs = performance.now();
    let isWaiting = false;
    const ids = await retry(() => this.register(table, topic), {
      ...patience,
      onRetry: ({ error, delayMs }) => {
        isWaiting = true;
        logger.warn(
          `the new schema of ${tableName(table)} waits: ${error.message}; trying again in ${delayMs} ms (${error.hint})`,
        );
        const waitedMs = performance.now() - startedMs;
        const { kind } = error;
        observe({ type: 'registry-waiting', table: tableName(table), kind, waitedMs });
      },
    });
    if (ids === undefined) {
      throw new PipelineError(
        'registry-unreachable',
        `the schema of ${tableName(table)} was not registered before the stop`,
      );
    }
    if (isWaiting) {
      logger.info(`the registry is back: the schema of ${tableName(table)} is registered`);
      observe({ type: 'registry-back' });
    }
    return ids;
  }

  /** Asks the registry once. */
  async register(table: TableSchema, topic: string): Promise<RegisteredSchemas> {
    const { registry, incompatible } = this.#options;
    const { key, value, digest } = this.#textsOf(table);
    const policy = incompatible(tableName(table));
    const keySchemaId = key === null ? null : await registry.register(`${topic}-key`, key, policy);
    const valueSchemaId = await registry.register(`${topic}-value`, value, policy);
    this.#checkOwner(topic, valueSchemaId);
    return { keySchemaId, valueSchemaId, schemaDigest: digest };
  }

  #textsOf(table: TableSchema) {
    const { prefix } = this.#options;
    const keyRecord = keySchema(table, prefix);
    const key = keyRecord === null ? null : schemaText(keyRecord);
    const value = schemaText(valueSchema(table, prefix));
    const digest = createHash('sha256')
      .update(JSON.stringify([key, value]))
      .digest('hex');
    return { key, value, digest };
  }

  /** A registry that lost its schemas begins to count anew: the ids of records on the log would get another meaning. */
  #checkOwner(topic: string, valueSchemaId: number): void {
    const owner = this.#options.history.topicOf(valueSchemaId);
    if (owner === undefined || owner === topic) return;
    throw new PipelineError(
      'registry-refused',
      `the registry gave id ${valueSchemaId} to a schema of ${topic}, but records of ${owner} have it already: it is not the registry that they were written with, or it lost its schemas`,
      {
        hint: 'restore the registry, or correct registry.url; with a new registry begin a new log',
      },
    );
  }
}
