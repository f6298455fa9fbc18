import { assert } from '../../runtime/assert.ts';
import type { LogRecord, RecordHeader } from '../../log/log.ts';
import {
  headerExact,
  headerExactBefore,
  headerSeq,
  headerUnchanged,
} from '../../schemas/control.ts';
import { type Part, positionTextLength } from '../../schemas/position.ts';
import { tableName } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import { AvroOutput } from './avro-output.ts';
import { EnvelopeWriter } from './envelope-writer.ts';
import { KeyWriter } from './key-writer.ts';
import { RowWriter, type Remainder, type RowSource } from './row-writer.ts';
import type {
  ChangeFrame,
  Transcoder,
  TranscodedRecords,
  TranscoderOptions,
} from './transcoder.ts';
import { TupleSpans } from './tuple-spans.ts';

/** Headers by which Debezium ties the two halves of a key change together. */
const headerNewKey = '__debezium.newkey';
const headerOldKey = '__debezium.oldkey';

/** Union branches of `before` and `after`: null, row. */
const noRow = 0;
const hasRow = 2;

const frameBytes = 5;

const slash = 0x2f;
const zero = 0x30;

type BeforeImage = { readonly kind: 'key' | 'full'; readonly tuple: TupleBytes };

/** Compiles the transcoder of one table version: see `Transcoder` for what it gives and throws. */
export function compileTranscoder(options: TranscoderOptions): Transcoder {
  return new TableTranscoder(options);
}

/** One record to be: its row images and what stands around them. */
interface Draft {
  readonly op: 'c' | 'u' | 'd' | 'r' | 't';
  readonly key: Buffer | null;
  readonly before: RowSource | null;
  readonly after: RowSource | null;
  readonly part: Part;
  readonly headers: readonly RecordHeader[];
}

/** Confluent's frame: a zero byte and the schema id, big-endian. */
function frameOf(schemaId: number): Buffer {
  const frame = Buffer.alloc(frameBytes);
  frame.writeInt32BE(schemaId, 1);
  return frame;
}

const none: readonly RecordHeader[] = [];

class TableTranscoder implements Transcoder {
  readonly #output = new AvroOutput();
  readonly #valueFrame: Buffer;
  readonly #key: KeyWriter | null;
  readonly #row: RowWriter;
  readonly #envelope: EnvelopeWriter;
  readonly #image: TupleSpans;
  readonly #before: TupleSpans;
  readonly #sources: Sources;
  readonly #remainder: Remainder = { unchanged: null, exact: null };
  /** Of the last position, as text and as bytes. */
  #seqPrefix = '';
  #seqHead: Buffer = Buffer.alloc(0);
  readonly #remainderBefore: Remainder = { unchanged: null, exact: null };

  constructor(options: TranscoderOptions) {
    const { table, keySchemaId, valueSchemaId } = options;
    const isKeyless = table.key.length === 0;
    assert(
      isKeyless === (keySchemaId === null),
      'a table has a key schema exactly when it has a key',
    );
    this.#key = keySchemaId === null ? null : new KeyWriter(table, frameOf(keySchemaId));
    this.#valueFrame = frameOf(valueSchemaId);
    this.#row = new RowWriter(table);
    this.#envelope = new EnvelopeWriter(options);
    this.#image = new TupleSpans(tableName(table), table.columns.length);
    this.#before = new TupleSpans(tableName(table), table.columns.length);
    this.#sources = sourcesOf(this.#image, this.#before);
  }

  insert(frame: ChangeFrame, after: TupleBytes): TranscodedRecords {
    return [this.#whole(frame, 'c', after)];
  }

  read(frame: ChangeFrame, row: TupleBytes): TranscodedRecords {
    return [this.#whole(frame, 'r', row)];
  }

  update(frame: ChangeFrame, before: BeforeImage | null, after: TupleBytes): TranscodedRecords {
    if (before === null) return [this.#whole(frame, 'u', after)];
    this.#image.fill(after);
    this.#before.fill(before.tuple);
    const key = this.#encodeKey(this.#image, this.#before);
    const { old, row } = this.#sources[before.kind];
    if (key !== null && this.#key?.isKept(this.#image, this.#before) === false) {
      return this.#moved(frame, { key, old, row });
    }
    return [this.#record(frame, { op: 'u', key, before: old, after: row, part: 0, headers: none })];
  }

  delete(frame: ChangeFrame, before: BeforeImage): TranscodedRecords {
    this.#before.fill(before.tuple);
    const key = this.#encodeKey(this.#before, null);
    const { old } = this.#sources[before.kind];
    return this.#removed(frame, { key, old, headers: none });
  }

  truncate(frame: ChangeFrame): TranscodedRecords {
    return [
      this.#record(frame, {
        op: 't',
        key: null,
        before: null,
        after: null,
        part: 0,
        headers: none,
      }),
    ];
  }

  #whole(frame: ChangeFrame, op: 'c' | 'u' | 'r', tuple: TupleBytes): LogRecord {
    this.#image.fill(tuple);
    const key = this.#encodeKey(this.#image, null);
    const { alone } = this.#sources;
    return this.#record(frame, { op, key, before: null, after: alone, part: 0, headers: none });
  }

  /** A key change is a delete of the old key and an insert of the new one, which name each other. */
  #moved(
    frame: ChangeFrame,
    move: {
      readonly key: Buffer;
      readonly old: RowSource;
      readonly row: RowSource;
    },
  ): TranscodedRecords {
    assert(this.#key !== null, 'only a table with a key can change it');
    const oldKey = this.#encodeKey(this.#before, null);
    const newKeyJson = this.#key.toJson(this.#image, this.#before);
    const oldKeyJson = this.#key.toJson(this.#before, null);
    const toNew: readonly RecordHeader[] = [[headerNewKey, Buffer.from(newKeyJson)]];
    const toOld: readonly RecordHeader[] = [[headerOldKey, Buffer.from(oldKeyJson)]];
    const after = {
      op: 'c',
      key: move.key,
      before: null,
      after: move.row,
      part: 2,
      headers: toOld,
    } as const;
    return [
      ...this.#removed(frame, { key: oldKey, old: move.old, headers: toNew }),
      this.#record(frame, after),
    ];
  }

  #removed(
    frame: ChangeFrame,
    removal: {
      readonly key: Buffer | null;
      readonly old: RowSource;
      readonly headers: readonly RecordHeader[];
    },
  ): TranscodedRecords {
    const { key, old, headers } = removal;
    const change = this.#record(frame, {
      op: 'd',
      key,
      before: old,
      after: null,
      part: 0,
      headers,
    });
    const tombstone: LogRecord = {
      key,
      value: null,
      headers: [this.#seq(frame, 1), ...headers],
      timestampMs: change.timestampMs,
    };
    return [change, tombstone];
  }

  #record(frame: ChangeFrame, draft: Draft): LogRecord {
    const output = this.#output;
    const remainder = cleared(this.#remainder);
    const remainderBefore = cleared(this.#remainderBefore);
    output.begin();
    output.reserve(this.#valueFrame.length + 1);
    output.writeBuffer(this.#valueFrame);
    this.#rowImage(draft.before, draft.after === null ? remainder : remainderBefore);
    this.#rowImage(draft.after, remainder);
    this.#envelope.write(output, frame, { op: draft.op, orderOffset: draft.part === 2 ? 1 : 0 });
    const value = output.take();
    const headers = [this.#seq(frame, draft.part), ...draft.headers];
    if (remainder.unchanged !== null) headers.push(json(headerUnchanged, remainder.unchanged));
    if (remainder.exact !== null) headers.push(json(headerExact, remainder.exact));
    if (remainderBefore.exact !== null)
      headers.push(json(headerExactBefore, remainderBefore.exact));
    return { key: draft.key, value, headers, timestampMs: this.#envelope.timestampMs };
  }

  #rowImage(row: RowSource | null, remainder: Remainder): void {
    this.#output.reserve(1);
    this.#output.writeByte(row === null ? noRow : hasRow);
    if (row !== null) this.#row.write(this.#output, row, remainder);
  }

  #encodeKey(image: TupleSpans, before: TupleSpans | null): Buffer | null {
    return this.#key === null ? null : this.#key.encode(this.#output, image, before);
  }

  /** The position's text, written without a string in between: this runs for every record. */
  #seq({ seqPrefix, ordinal }: ChangeFrame, part: Part): RecordHeader {
    if (seqPrefix !== this.#seqPrefix) {
      this.#seqPrefix = seqPrefix;
      this.#seqHead = Buffer.from(seqPrefix);
    }
    const output = this.#output;
    output.begin();
    output.reserve(positionTextLength);
    output.writeBuffer(this.#seqHead);
    output.writeHex(ordinal);
    output.writeByte(slash);
    output.writeByte(zero + part);
    return [headerSeq, output.take()];
  }
}

/** Where images come from, made once: the tuples behind them are filled anew for every change. */
interface Sources {
  /** A row that came without the one before it. */
  readonly alone: RowSource;
  /** Row and old row of a change that came with the old key, or with the full old row. */
  readonly key: { readonly old: RowSource; readonly row: RowSource };
  readonly full: { readonly old: RowSource; readonly row: RowSource };
}

function sourcesOf(image: TupleSpans, before: TupleSpans): Sources {
  const alone: RowSource = { image, before: null, beforeIsKey: false, imageIsKey: false };
  const old: RowSource = { image: before, before: null, beforeIsKey: false, imageIsKey: false };
  const row: RowSource = { image, before, beforeIsKey: false, imageIsKey: false };
  const key = { old: { ...old, imageIsKey: true }, row: { ...row, beforeIsKey: true } };
  return { alone, key, full: { old, row } };
}

function cleared(remainder: Remainder): Remainder {
  remainder.unchanged = null;
  remainder.exact = null;
  return remainder;
}

const json = (name: string, value: unknown): RecordHeader => [
  name,
  Buffer.from(JSON.stringify(value)),
];
