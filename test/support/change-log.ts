import { compileTranscoder } from '../../capture/transcode/compile-transcoder.ts';
import type { ChangeFrame, Transcoder } from '../../capture/transcode/transcoder.ts';
import type { Log, LogRecord, PartitionBatch } from '../../log/log.ts';
import { keySchema, schemaText, valueSchema } from '../../schemas/avro.ts';
import type { Change, RowImage } from '../../schemas/change.ts';
import { controlTopics, type Watermark } from '../../schemas/control.ts';
import { canonicalValue } from '../../schemas/pg-text.ts';
import { parsePosition, positionPrefixLength } from '../../schemas/position.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';

export const partitionCount = 3;

/**
 * Writes changes to a log as capture does: through the real transcoder, in several partitions, table
 * versions before the first record that has them.
 */
export class ChangeLog {
  readonly log: Log;
  /** Of this log's topics: several may share one file. */
  readonly prefix: string;
  readonly registry: SchemaRegistry;
  /** The versions as they are on the log: with the ids that the registry gave. */
  readonly versions = new Map<TableVersion, TableVersion>();
  readonly #transcoders = new Map<TableVersion, Transcoder>();
  readonly #ends = new Map<string, number[]>();
  #moved = new Set<string>();

  constructor(log: Log, registry: SchemaRegistry, prefix: string) {
    this.log = log;
    this.registry = registry;
    this.prefix = prefix;
  }

  topicOf(table: string): string {
    return `${this.prefix}.public.${table}`;
  }

  async create(tables: readonly string[]): Promise<void> {
    const { progress, watermarks, schemas } = controlTopics(this.prefix);
    const control = [progress, watermarks, schemas].map((topic) => {
      return { topic, partitions: 1, compacted: !topic.endsWith('watermarks') };
    });
    const topics = tables.map((table) => {
      return { topic: this.topicOf(table), partitions: partitionCount, compacted: false };
    });
    await this.log.createTopics([...control, ...topics]);
  }

  /** Appends the records of these changes; halves of a key change have to come together. */
  async write(changes: readonly Change[]): Promise<void> {
    for (const [index, change] of changes.entries()) {
      await this.#use(change.version);
      const topic = this.topicOf(change.version.table.name);
      const records = this.#records(change, changes[index + 1]);
      await this.append(records.map((record) => placed(topic, record)));
    }
  }

  async append(batches: readonly PartitionBatch[]): Promise<void> {
    if (batches.length === 0) return;
    for (const { topic, partition, end } of await this.log.append(batches)) {
      const ends = this.#ends.get(topic) ?? Array.from({ length: partitionCount }, () => 0);
      ends[partition] = end;
      this.#ends.set(topic, ends);
      this.#moved.add(topic);
    }
  }

  /** Appends a watermark over all that was written; `full` every time unless told otherwise. */
  async watermark(cut: Pick<Watermark, 'cut' | 'lsn'> & Partial<Watermark>): Promise<Watermark> {
    const topics = cut.full === false ? [...this.#moved] : [...this.#ends.keys()];
    this.#moved = new Set();
    const watermark: Watermark = {
      committedAtUs: null,
      publish: true,
      full: true,
      ends: Object.fromEntries(topics.map((topic) => [topic, [...(this.#ends.get(topic) ?? [])]])),
      ...cut,
    };
    await this.#control(controlTopics(this.prefix).watermarks, null, watermark);
    return watermark;
  }

  async #control(topic: string, key: string | null, value: object): Promise<void> {
    const record: LogRecord = {
      key: key === null ? null : Buffer.from(key),
      value: Buffer.from(JSON.stringify(value)),
      headers: [],
      timestampMs: 1,
    };
    await this.log.append([{ topic, partition: 0, records: [record] }]);
  }

  async #use(version: TableVersion): Promise<void> {
    if (this.#transcoders.has(version)) return;
    const { table } = version;
    const topic = this.topicOf(table.name);
    const { prefix } = this;
    const key = keySchema(table, prefix);
    const keySchemaId =
      key === null ? null : await this.registry.register(`${topic}-key`, schemaText(key));
    const value = schemaText(valueSchema(table, prefix));
    const valueSchemaId = await this.registry.register(`${topic}-value`, value);
    const registered = { ...version, topic, keySchemaId, valueSchemaId };
    this.versions.set(version, registered);
    await this.#control(controlTopics(this.prefix).schemas, `${topic}#${version.from}`, registered);
    this.#transcoders.set(
      version,
      compileTranscoder({
        table,
        prefix,
        database: 'source',
        keySchemaId,
        valueSchemaId,
        connector: 'postgresql',
        version: '1',
      }),
    );
  }

  #records(change: Change, next: Change | undefined): readonly LogRecord[] {
    const transcoder = this.#transcoders.get(change.version);
    if (transcoder === undefined) throw new Error('the version is in use');
    const frame = frameOf(change);
    switch (change.op) {
      case 't':
        return transcoder.truncate(frame);
      case 'd': {
        const isFull = change.version.table.key.length === 0;
        const before = {
          kind: isFull ? 'full' : 'key',
          tuple: tuple(change, change.before),
        } as const;
        const isMove =
          next?.seq.endsWith('/2') && next.seq.slice(0, -1) === change.seq.slice(0, -1);
        if (isMove && next?.op === 'c') {
          return transcoder.update(frame, before, tuple(next, next.after));
        }
        return transcoder.delete(frame, before);
      }
      case 'u': {
        const { before, after } = change;
        const old =
          before === null ? null : ({ kind: 'full', tuple: tuple(change, before) } as const);
        return transcoder.update(frame, old, tuple(change, after));
      }
      case 'r':
        return transcoder.read(frame, tuple(change, change.after));
      case 'c':
        // The insert half was written with its delete half.
        if (change.seq.endsWith('/2')) return [];
        return transcoder.insert(frame, tuple(change, change.after));
    }
  }
}

function frameOf(change: Change): ChangeFrame {
  return {
    transaction: {
      xid: change.xid === null ? null : Number(change.xid),
      commitLsn: parsePosition(change.seq).commitLsn,
      committedAtUs: change.committedAtUs ?? 0n,
      lastCommitLsn: null,
      snapshot: change.op === 'r' ? 'incremental' : 'false',
      origin: null,
    },
    lsn: change.lsn,
    seqPrefix: change.seq.slice(0, positionPrefixLength),
    ordinal: parsePosition(change.seq).ordinal,
    capturedAtUs: change.capturedAtUs,
    block: null,
  };
}

/** A tuple as pgoutput writes it. */
function tuple(change: Change, image: RowImage) {
  const unchanged = 'unchanged' in change ? change.unchanged : [];
  const count = Buffer.alloc(2);
  count.writeInt16BE(image.length);
  const parts = change.version.table.columns.map(({ type }, index) => {
    if (unchanged.includes(index)) return Buffer.from('u');
    const text = canonicalValue(type, image[index] ?? null);
    if (text === null) return Buffer.from('n');
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes.length);
    return Buffer.concat([Buffer.from('t'), length, bytes]);
  });
  return { bytes: Buffer.concat([count, ...parts]), offset: 0 };
}

/** Any partition will do as long as one key keeps to one, and rows without a key to the first. */
function placed(topic: string, record: LogRecord): PartitionBatch {
  const partition = record.key === null ? 0 : (record.key.at(-1) ?? 0) % partitionCount;
  return { topic, partition, records: [record] };
}
