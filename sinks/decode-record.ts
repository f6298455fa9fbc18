import type { StoredRecord, TopicPartition } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { compileDecoder, type EnvelopeDecoder, frameSchemaId } from '../schemas/avro-decoder.ts';
import {
  type Change,
  type DeadLetter,
  ExactText,
  type RowImage,
  type Value,
} from '../schemas/change.ts';
import { headerExact, headerExactBefore, headerSeq, headerUnchanged } from '../schemas/control.ts';
import { parsePosition, type PositionText, positionTextLength } from '../schemas/position.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';
import type { TableVersion } from '../schemas/table-schema.ts';
import type { TableVersions } from './table-versions.ts';

/** A record and its place on the log. */
export interface PlacedRecord extends TopicPartition {
  readonly record: StoredRecord;
  /** Null when the record does not say, or says no position. */
  readonly seq: PositionText | null;
}

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

function headerOf(record: StoredRecord, name: string): Buffer | undefined {
  for (const header of record.headers) if (header[0] === name) return header[1];
  return undefined;
}

/** Turns records into changes, with one decoder for each table version, compiled when first met. */
export class RecordDecoder {
  readonly #registry: SchemaRegistry;
  readonly #versions: TableVersions;
  readonly #decoders = new Map<TableVersion, EnvelopeDecoder>();

  constructor(registry: SchemaRegistry, versions: TableVersions) {
    this.#registry = registry;
    this.#versions = versions;
  }

  /**
   * Gives each record's change to `onChange` or, for what cannot be decoded, a dead letter to
   * `onDeadLetter`; tombstones are neither. Throws `log-corrupt` when a record's table version or
   * schema is not on the log: then it is not the record that is wrong.
   */
  async decode(
    records: readonly PlacedRecord[],
    onChange: (change: Change) => void,
    onDeadLetter: (letter: DeadLetter) => void,
  ): Promise<void> {
    for (const placed of records) {
      const { record, seq } = placed;
      if (record.value === null && seq !== null) continue;
      try {
        const { version, value } = this.#versionOf(placed);
        const decoder = this.#decoders.get(version) ?? (await this.#compile(version));
        onChange(toChange(placed, { version, decoder, value }));
      } catch (error) {
        if (!(error instanceof PipelineError) || error.kind !== 'value-invalid') throw error;
        onDeadLetter(deadLetter(placed, error.message));
      }
    }
  }

  #versionOf({ topic, partition, record, seq }: PlacedRecord) {
    if (record.value === null || seq === null) {
      throw new PipelineError('value-invalid', `the record has no ${headerSeq} header`);
    }
    const id = frameSchemaId(record.value);
    const version = this.#versions.find(topic, id, seq);
    if (version !== undefined) return { version, value: record.value };
    const place = `offset ${record.offset} of ${topic}/${partition}`;
    throw new PipelineError(
      'log-corrupt',
      `no table version has schema id ${id}, used at ${place}`,
    );
  }

  async #compile(version: TableVersion): Promise<EnvelopeDecoder> {
    const text = await this.#registry.schemaText(version.valueSchemaId);
    const decoder = compileDecoder(JSON.parse(text) as object, version.table);
    this.#decoders.set(version, decoder);
    return decoder;
  }
}

interface DecodeContext {
  readonly version: TableVersion;
  readonly decoder: EnvelopeDecoder;
  readonly value: Buffer;
}

function toChange(placed: PlacedRecord, { version, decoder, value }: DecodeContext): Change {
  const { topic, partition, record } = placed;
  const seq = placed.seq ?? '';
  const { op, before, after, lsn, xid, committedAtUs, capturedAtUs } = decoder(value);
  const origin = {
    seq,
    lsn: lsn ?? parsePosition(seq).commitLsn,
    xid,
    // Rows of a snapshot were read, not committed: their `source.ts_us` is the time of the reading.
    committedAtUs: op === 'r' ? null : committedAtUs,
    capturedAtUs: capturedAtUs ?? BigInt(record.timestampMs) * 1000n,
    topic,
    partition,
    offset: record.offset,
    version,
  };
  if (op === 't') return Object.assign(origin, { op });
  const exact = headerOf(record, headerExact);
  if (op === 'd') {
    const image = withExact(present(before, op), exact, version);
    return Object.assign(origin, { op, before: image });
  }
  const unchanged = unchangedColumns(headerOf(record, headerUnchanged), version);
  const exactBefore = headerOf(record, headerExactBefore);
  return Object.assign(origin, {
    op,
    after: withExact(withNulls(present(after, op), unchanged), exact, version),
    before: before === null ? null : withExact(before, exactBefore, version),
    unchanged,
  });
}

function present(image: RowImage | null, op: Change['op']): RowImage {
  if (image !== null) return image;
  throw new PipelineError('value-invalid', `an envelope with op ${op} has no image of the row`);
}

const noColumns: readonly number[] = [];

function unchangedColumns(header: Buffer | undefined, version: TableVersion): readonly number[] {
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
  if (header === undefined) return image;
  const texts = parseHeader(header, headerExact);
  const values: Value[] = [...image];
  for (const [name, text] of Object.entries(texts ?? {})) {
    values[columnIndex(name, version)] = text === null ? null : new ExactText(String(text));
  }
  return values;
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
