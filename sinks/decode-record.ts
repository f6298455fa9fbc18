import type { StoredRecord, TopicPartition } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { avroNamespace } from '../schemas/avro-names.ts';
import {
  compileDecoder,
  compileKeyDecoder,
  type DecodedEnvelope,
  type EnvelopeDecoder,
  frameSchemaId,
  type KeyDecoder,
} from '../schemas/avro-decoder.ts';
import {
  type Change,
  type DeadLetter,
  ExactText,
  type RowImage,
  type Value,
} from '../schemas/change.ts';
import { restated } from '../schemas/avro-value-readers.ts';
import { headerExact, headerExactBefore, headerSeq, headerUnchanged } from '../schemas/control.ts';
import {
  parsePosition,
  type PositionText,
  positionTextLength,
  positionZero,
} from '../schemas/position.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';
import { schemaName } from '../schemas/schema-name.ts';
import type { TableVersion } from '../schemas/table-schema.ts';
import type { TableVersions } from './table-versions.ts';

/** A record and its place on the log. */
export interface PlacedRecord extends TopicPartition {
  readonly record: StoredRecord;
  /** Null when the record does not say, or says no position. */
  readonly seq: PositionText | null;
}

/** What a record says: a dead letter if it cannot be decoded, null for the tombstone after a delete. */
export type Decoded = Change | DeadLetter | null;

const slash = 0x2f;

/** The position that a record carries; null when it has none. */
export function positionOf(record: StoredRecord): PositionText | null {
  const header = headerOf(record, headerSeq);
  return header !== undefined && isPosition(header) ? header.toString('latin1') : null;
}

/** What `formatPosition` writes, told from its bytes: digits and slashes where they belong. */
function isPosition(bytes: Buffer): boolean {
  if (bytes.length !== positionTextLength) return false;
  for (let at = 0; at < positionTextLength; at += 1) {
    const byte = bytes[at] ?? 0;
    const isHex = (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46);
    if (at === 4 || at === 21 || at === 30 ? byte !== slash : !isHex) return false;
  }
  return (bytes[positionTextLength - 1] ?? 0) <= 0x32;
}

const placeOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

/** The position of the delete that a tombstone at `seq` belongs to; null when no tombstone has such a one. */
function deleteOf(seq: PositionText): PositionText | null {
  return seq.endsWith('/1') ? `${seq.slice(0, -1)}0` : null;
}

function headerOf(record: StoredRecord, name: string): Buffer | undefined {
  for (const header of record.headers) if (header[0] === name) return header[1];
  return undefined;
}

export interface RecordDecoderOptions {
  readonly registry: SchemaRegistry;
  readonly versions: TableVersions;
  /** Prefix of the topics, with which the names of their schemas begin. */
  readonly prefix: string;
}

/** Turns records into changes, with one decoder for each table version, compiled when first met. */
export class RecordDecoder {
  readonly #options: RecordDecoderOptions;
  readonly #decoders = new Map<TableVersion, EnvelopeDecoder>();
  readonly #keyDecoders = new Map<TableVersion, KeyDecoder>();
  /** Where the last delete of each partition was: its tombstone comes next there. */
  readonly #deletes = new Map<string, PositionText>();
  /** What is wrong with ids that are not those of a table, by topic and id. */
  readonly #strangers = new Map<string, string>();

  constructor(options: RecordDecoderOptions) {
    this.#options = options;
  }

  /**
   * What each of the records above the floor says; those of a partition come in their order. Throws `log-corrupt`
   * when a record has the table's schema but no version on the log, `schema-unknown` when the registry lacks
   * what a version names: then it is not the record that is wrong. Throws `registry-unreachable` while that
   * has to say which it is.
   */
  async decode(
    records: readonly PlacedRecord[],
    floor: PositionText = positionZero,
  ): Promise<readonly Decoded[]> {
    const decoded: Decoded[] = [];
    for (const placed of records) {
      const { record, seq } = placed;
      try {
        if (seq !== null && seq <= floor) {
          decoded.push(null);
        } else if (seq !== null && record.value === null) {
          decoded.push(await this.#lonelyTombstone(placed, seq));
        } else {
          const { id, value, version } = this.#versionOf(placed);
          if (version === undefined) throw await this.#stranger(placed, id);
          const decoder = this.#decoders.get(version) ?? (await this.#compile(version));
          const change = toChange(placed, { version, decoder, value });
          if (change.op !== 't') checkKey(record.key, version);
          if (change.op === 'd') this.#deletes.set(placeOf(placed), change.seq);
          decoded.push(change);
        }
      } catch (error) {
        if (!(error instanceof PipelineError) || error.kind !== 'value-invalid') throw error;
        decoded.push(deadLetter(placed, error.message));
      }
    }
    return decoded;
  }

  /**
   * Compaction keeps the newest record of a key: of a delete only the tombstone. Whoever has the row must
   * still take it away. Null when the delete was there, or the tombstone is of none of the table's.
   */
  async #lonelyTombstone(placed: PlacedRecord, seq: PositionText): Promise<Change | null> {
    const { topic, partition, record } = placed;
    const deletedAt = deleteOf(seq);
    if (deletedAt === null || record.key === null) return null;
    if (this.#deletes.get(placeOf(placed)) === deletedAt) return null;
    const id = frameSchemaId(record.key);
    const version = this.#options.versions
      .of(topic)
      .findLast(({ keySchemaId, from }) => keySchemaId === id && from <= seq);
    if (version === undefined) return null;
    const decode = this.#keyDecoders.get(version) ?? (await this.#compileKey(version, id));
    return {
      op: 'd',
      before: decode(record.key),
      seq: deletedAt,
      lsn: parsePosition(seq).commitLsn,
      xid: null,
      committedAtUs: null,
      capturedAtUs: BigInt(record.timestampMs) * 1000n,
      topic,
      partition,
      offset: record.offset,
      version,
    };
  }

  async #compileKey(version: TableVersion, id: number): Promise<KeyDecoder> {
    const text = await this.#options.registry.schemaText(id);
    const decoder = compileKeyDecoder(JSON.parse(text) as object, version.table);
    this.#keyDecoders.set(version, decoder);
    return decoder;
  }

  #versionOf({ topic, record, seq }: PlacedRecord) {
    if (record.value === null || seq === null) {
      throw new PipelineError('value-invalid', `the record has no ${headerSeq} header`);
    }
    const id = frameSchemaId(record.value);
    const version = this.#options.versions.find(topic, id, seq);
    return { id, value: record.value, version };
  }

  /** Why a record has a schema id that no version of its table has. */
  async #stranger(placed: PlacedRecord, id: number): Promise<PipelineError> {
    const key = `${placed.topic}#${id}`;
    const reason = this.#strangers.get(key) ?? (await this.#reasonAgainst(placed, id));
    if (this.#strangers.size < strangersMax) this.#strangers.set(key, reason);
    return new PipelineError('value-invalid', reason);
  }

  async #reasonAgainst({ topic, partition, record }: PlacedRecord, id: number): Promise<string> {
    const { registry, versions } = this.#options;
    const unknown = `its schema id ${id} is not in the registry`;
    if (id < 0) return unknown;
    let text: string;
    try {
      text = await registry.schemaText(id);
    } catch (error) {
      if (!(error instanceof PipelineError) || error.kind !== 'schema-unknown') throw error;
      return unknown;
    }
    const name = schemaName(text);
    if (!versions.of(topic).some((version) => name === this.#nameOf(version))) {
      return `its schema id ${id} is ${name ?? 'no Avro schema'}, which is not the table's`;
    }
    const place = `offset ${record.offset} of ${topic}/${partition}`;
    const message = `no table version has schema id ${id}, used at ${place}`;
    throw new PipelineError('log-corrupt', message);
  }

  #nameOf({ table }: TableVersion): string {
    return `${avroNamespace(this.#options.prefix, table.schema, table.name)}.Envelope`;
  }

  async #compile(version: TableVersion): Promise<EnvelopeDecoder> {
    const id = version.valueSchemaId;
    const text = await this.#options.registry.schemaText(id);
    const name = schemaName(text);
    if (name !== this.#nameOf(version)) {
      const message = `schema ${id} is ${this.#nameOf(version)} on the log, but ${name ?? 'no Avro'} in the registry`;
      throw new PipelineError('schema-unknown', message, { context: { id } });
    }
    const decoder = compileDecoder(JSON.parse(text) as object, version.table);
    this.#decoders.set(version, decoder);
    return decoder;
  }
}

/** Reasons that are remembered; asking the registry again would give the same. */
const strangersMax = 1000;

/** A key that capture did not write shows that the record is not capture's, whatever its value says. */
function checkKey(key: Buffer | null, { keySchemaId }: TableVersion): void {
  if (keySchemaId === null) {
    if (key === null) return;
    throw new PipelineError('value-invalid', 'it has a key, but its table has none');
  }
  if (key === null)
    throw new PipelineError('value-invalid', 'it has no key, but its table has one');
  const id = frameSchemaId(key);
  if (id === keySchemaId) return;
  throw new PipelineError('value-invalid', `its key has schema id ${id}, not ${keySchemaId}`);
}

interface DecodeContext {
  readonly version: TableVersion;
  readonly decoder: EnvelopeDecoder;
  readonly value: Buffer;
}

function toChange(placed: PlacedRecord, { version, decoder, value }: DecodeContext): Change {
  const envelope = decoder(value);
  const { op, before, after } = envelope;
  const origin = originOf(placed, version, envelope);
  if (op === 't') return { ...origin, op };
  const exact = headerOf(placed.record, headerExact);
  if (op === 'd') return { ...origin, op, before: withExact(present(before, op), exact, version) };
  const unchanged = unchangedColumns(placed.record, version);
  // One literal and no spread: there are millions of these.
  return {
    op,
    seq: origin.seq,
    lsn: origin.lsn,
    xid: origin.xid,
    committedAtUs: origin.committedAtUs,
    capturedAtUs: origin.capturedAtUs,
    topic: origin.topic,
    partition: origin.partition,
    offset: origin.offset,
    version,
    after: withExact(withNulls(present(after, op), unchanged), exact, version),
    before:
      before === null
        ? null
        : withExact(before, headerOf(placed.record, headerExactBefore), version),
    unchanged,
  };
}

function originOf(
  { topic, partition, record, seq }: PlacedRecord,
  version: TableVersion,
  { op, lsn, xid, committedAtUs, capturedAtUs }: DecodedEnvelope,
) {
  const position = seq ?? positionZero;
  return {
    seq: position,
    lsn: lsn ?? parsePosition(position).commitLsn,
    xid,
    // Rows of a snapshot were read, not committed: their `source.ts_us` is the time of the reading.
    committedAtUs: op === 'r' ? null : committedAtUs,
    capturedAtUs: capturedAtUs ?? BigInt(record.timestampMs) * 1000n,
    topic,
    partition,
    offset: record.offset,
    version,
  };
}

function present(image: RowImage | null, op: Change['op']): RowImage {
  if (image !== null) return image;
  throw new PipelineError('value-invalid', `an envelope with op ${op} has no image of the row`);
}

const noColumns: readonly number[] = [];

function unchangedColumns(record: StoredRecord, version: TableVersion): readonly number[] {
  const header = headerOf(record, headerUnchanged);
  if (header === undefined) return noColumns;
  const names = parseHeader(header, headerUnchanged);
  if (!Array.isArray(names)) {
    throw new PipelineError('value-invalid', `header ${headerUnchanged} is no JSON array`);
  }
  return names.map((name: unknown) => columnIndex(String(name), version)).toSorted((a, b) => a - b);
}

function withNulls(image: RowImage, indices: readonly number[]): RowImage {
  if (indices.length === 0) return image;
  const values = [...image];
  for (const index of indices) values[index] = null;
  return values;
}

/** Puts exact texts over what the Avro type could hold; JSON null is SQL NULL in a field without it. */
function withExact(image: RowImage, header: Buffer | undefined, version: TableVersion): RowImage {
  if (header === undefined) {
    if (hasRestated(version) && image.includes(restated)) throw noExactText();
    return image;
  }
  const texts = parseHeader(header, headerExact);
  const values: Value[] = [...image];
  for (const [name, text] of Object.entries(texts ?? {})) {
    const index = columnIndex(name, version);
    const isText = version.table.columns[index]?.type.kind === 'restated';
    values[index] = text === null ? null : isText ? String(text) : new ExactText(String(text));
  }
  if (values.includes(restated)) throw noExactText();
  return values;
}

const noExactText = () =>
  new PipelineError('value-invalid', `a value has no exact text in header ${headerExact}`);

const restatedVersions = new WeakMap<TableVersion, boolean>();

/** Whether the table has columns whose values only a header says. */
function hasRestated(version: TableVersion): boolean {
  const known = restatedVersions.get(version);
  if (known !== undefined) return known;
  const found = version.table.columns.some(({ type }) => type.kind === 'restated');
  restatedVersions.set(version, found);
  return found;
}

function columnIndex(name: string, { table }: TableVersion): number {
  const index = table.columns.findIndex((column) => column.name === name);
  if (index >= 0) return index;
  throw new PipelineError('value-invalid', `a header names column ${name}, which the table lacks`);
}

function parseHeader(header: Buffer, name: string): object | null {
  try {
    return JSON.parse(header.toString()) as object | null;
  } catch {
    throw new PipelineError('value-invalid', `header ${name} is no JSON`);
  }
}

function deadLetter({ topic, partition, record, seq }: PlacedRecord, reason: string): DeadLetter {
  const { offset, key, value } = record;
  return { topic, partition, offset, seq, reason, key, value };
}
