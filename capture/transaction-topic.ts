import type { Log, LogRecord } from '../log/log.ts';
import { schemaText } from '../schemas/avro.ts';
import { headerSeq } from '../schemas/control.ts';
import type { Lsn } from '../schemas/lsn.ts';
import type { PositionText } from '../schemas/position.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';
import type { AvroSchema } from '../schemas/type-mapping.ts';
import type { PartitionBuffer } from './batcher.ts';
import { AvroOutput } from './transcode/avro-output.ts';
import type { ChangeFrame } from './transcode/transcoder.ts';
import { hashMapOrder } from './java-hash-order.ts';

/** "app.transaction": begin and end of every transaction. No table's topic has such a name. */
export const transactionTopicOf = (prefix: string): string => `${prefix}.transaction`;

const named = (
  name: string,
): { readonly 'connect.version': 1; readonly 'connect.name': string } => ({
  'connect.version': 1,
  'connect.name': name,
});

const keyRecord: AvroSchema = {
  type: 'record',
  name: 'TransactionMetadataKey',
  namespace: 'io.debezium.connector.common',
  fields: [{ name: 'id', type: 'string' }],
  ...named('io.debezium.connector.common.TransactionMetadataKey'),
};

const collectionRecord: AvroSchema = {
  type: 'record',
  name: 'collection',
  namespace: 'event',
  fields: [
    { name: 'data_collection', type: 'string' },
    { name: 'event_count', type: 'long' },
  ],
  ...named('event.collection'),
};

const valueRecord: AvroSchema = {
  type: 'record',
  name: 'TransactionMetadataValue',
  namespace: 'io.debezium.connector.common',
  fields: [
    { name: 'status', type: 'string' },
    { name: 'id', type: 'string' },
    { name: 'event_count', type: ['null', 'long'], default: null },
    {
      name: 'data_collections',
      type: ['null', { type: 'array', items: ['null', collectionRecord] }],
      default: null,
    },
    { name: 'ts_ms', type: 'long' },
  ],
  ...named('io.debezium.connector.common.TransactionMetadataValue'),
};

/** The texts that Debezium registers for its transaction topic. */
export const transactionSchemaTexts = {
  key: schemaText(keyRecord),
  value: schemaText(valueRecord),
} as const;

export interface TransactionSchemaIds {
  readonly keySchemaId: number;
  readonly valueSchemaId: number;
}

/** One edge of a transaction. */
export interface TransactionEdge {
  readonly xid: number;
  /** Of BEGIN where its first change lies, of END where the next record may begin. */
  readonly lsn: Lsn;
  readonly committedAtUs: bigint;
  /** Before the first change, or behind the last. */
  readonly seq: PositionText;
}

/**
 * Debezium's transaction metadata: the records of `<prefix>.transaction`, and the block in each
 * change that says which event of its transaction it is. Events are counted as Debezium does: a key
 * change is two, a tombstone none.
 */
export class TransactionTopic {
  readonly buffer: PartitionBuffer;
  readonly #ids: TransactionSchemaIds;
  readonly #output = new AvroOutput();
  /** Table → events so far, in the order of their first. */
  #counts = new Map<string, number>();
  #total = 0;

  constructor(buffer: PartitionBuffer, ids: TransactionSchemaIds) {
    this.buffer = buffer;
    this.#ids = ids;
  }

  /** Counts from nothing, and gives the BEGIN record. */
  begin(edge: TransactionEdge): LogRecord {
    this.#counts = new Map();
    this.#total = 0;
    return this.#record('BEGIN', edge);
  }

  /** The END record, with what was counted since `begin`. */
  end(edge: TransactionEdge): LogRecord {
    return this.#record('END', edge);
  }

  /** The block of the next event of a table. */
  block(table: string, xid: number, lsn: Lsn): NonNullable<ChangeFrame['block']> {
    return {
      id: `${xid}:${lsn}`,
      totalOrder: BigInt(this.#total + 1),
      collectionOrder: BigInt((this.#counts.get(table) ?? 0) + 1),
    };
  }

  /** Counts what was written of one change. */
  count(table: string, records: readonly LogRecord[]): void {
    let events = 0;
    for (const { value } of records) if (value !== null) events += 1;
    this.#total += events;
    this.#counts.set(table, (this.#counts.get(table) ?? 0) + events);
  }

  #record(status: 'BEGIN' | 'END', edge: TransactionEdge): LogRecord {
    const { keySchemaId, valueSchemaId } = this.#ids;
    const { xid, lsn, committedAtUs, seq } = edge;
    const id = `${xid}:${lsn}`;
    const key = this.#piece(keySchemaId, id.length, () => this.#text(id));
    const tables = status === 'END' ? hashMapOrder([...this.#counts.keys()]) : [];
    const namesBytes = tables.reduce((sum, table) => sum + Buffer.byteLength(table), 0);
    const roomBytes = namesBytes + tables.length * countBytesMax + id.length + numbersBytesMax;
    const value = this.#piece(valueSchemaId, roomBytes, () => {
      this.#text(status);
      this.#text(id);
      if (status === 'BEGIN') this.#output.writeBuffer(Buffer.of(absent, absent));
      else this.#writeCounts(tables);
      this.#output.writeLong(floorMilliseconds(committedAtUs));
    });
    const headers = [[headerSeq, Buffer.from(seq, 'latin1')]] as const;
    return { key, value, headers, timestampMs: Date.now() };
  }

  #writeCounts(tables: readonly string[]): void {
    const output = this.#output;
    output.writeByte(present);
    output.writeInteger(this.#total);
    output.writeByte(present);
    if (tables.length > 0) output.writeInteger(tables.length);
    for (const table of tables) {
      output.writeByte(present);
      this.#text(table);
      output.writeInteger(this.#counts.get(table) ?? 0);
    }
    // An array ends with a block of none.
    output.writeByte(0);
  }

  #piece(schemaId: number, roomBytes: number, write: () => void): Buffer {
    const frame = Buffer.alloc(frameBytes);
    frame.writeInt32BE(schemaId, 1);
    this.#output.begin();
    this.#output.reserve(roomBytes + numbersBytesMax);
    this.#output.writeBuffer(frame);
    write();
    return this.#output.take();
  }

  #text(text: string): void {
    const bytes = Buffer.from(text);
    this.#output.writeText({ bytes, start: 0, end: bytes.length });
  }
}

/** Union branches where null is the first. */
const absent = 0;
const present = 2;
/** Confluent's frame: a zero and the schema's id. */
const frameBytes = 5;
/** Room for all numbers of a record but the counts by table, and for those of one table. */
const numbersBytesMax = 64;
const countBytesMax = 32;

const floorMilliseconds = (microseconds: bigint): bigint =>
  microseconds < 0n ? (microseconds - 999n) / 1000n : microseconds / 1000n;

/**
 * Creates the topic if it is missing. Its last record names its schemas if capture wrote it; else
 * the registry does. Throws as log and registry do.
 */
export async function openTransactionTopic(options: {
  readonly log: Log;
  readonly registry: SchemaRegistry;
  readonly prefix: string;
}): Promise<TransactionTopic> {
  const { log, registry, prefix } = options;
  const topic = transactionTopicOf(prefix);
  await log.createTopics([{ topic, partitions: 1, compacted: false, keyed: true }]);
  const last = await log.lastRecord({ topic, partition: 0 });
  const buffer = { topic, partition: 0, records: [], isUsed: last !== undefined };
  const isOwn = last?.headers.some(([name]) => name === headerSeq) ?? false;
  if (isOwn && last?.key && last.value) {
    const ids = { keySchemaId: last.key.readInt32BE(1), valueSchemaId: last.value.readInt32BE(1) };
    return new TransactionTopic(buffer, ids);
  }
  return new TransactionTopic(buffer, {
    keySchemaId: await registry.register(`${topic}-key`, transactionSchemaTexts.key),
    valueSchemaId: await registry.register(`${topic}-value`, transactionSchemaTexts.value),
  });
}
