import type { Change } from '../../schemas/change.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import type { VersionLayout } from '../lake/layout.ts';
import { ImageEncoder, type RowDescriptor, type RowField } from './encode-image.ts';
import { fieldTags, fieldTypes, type ProtoType, ProtoWriter } from './proto-writer.ts';

export type { RowDescriptor };

/** What is the same for all rows of a batch. */
export interface RowsOrigin {
  readonly batchId: string;
  readonly loadedAtUs: bigint;
}

const metaTypes = {
  _cdc_op: 'string',
  _cdc_seq: 'string',
  _cdc_lsn: 'string',
  _cdc_xid: 'int64',
  _cdc_committed_at: 'int64',
  _cdc_captured_at: 'int64',
  _cdc_loaded_at: 'int64',
  _cdc_topic: 'string',
  _cdc_partition: 'int64',
  _cdc_offset: 'int64',
  _cdc_schema_id: 'int64',
  _cdc_unchanged: 'string',
  _cdc_exact: 'string',
  _cdc_batch_id: 'string',
} as const satisfies Readonly<Record<string, ProtoType>>;

const metaNames = Object.keys(metaTypes) as readonly (keyof typeof metaTypes)[];
const tags = fieldTags(metaTypes);

/**
 * Rows of `T__changes` as proto2 messages, compiled once a table version. They mean what the newline-delimited
 * JSON of batch mode means: the same cell, and the same text in `_cdc_exact` where a column cannot hold a value.
 * https://cloud.google.com/bigquery/docs/supported-data-types
 */
export class RowEncoder {
  readonly descriptor: RowDescriptor;
  readonly #layout: VersionLayout;
  readonly #image: ImageEncoder;
  readonly #writer = new ProtoWriter();

  constructor(layout: VersionLayout) {
    this.#layout = layout;
    this.#image = new ImageEncoder(layout.columns, metaNames.length + 1);
    this.descriptor = { name: 'Row', field: [...metaFields(), ...this.#image.fields] };
  }

  /** The messages of these changes, in their order. Throws `value-invalid` when a value is not of its type. */
  encode(changes: readonly Change[], origin: RowsOrigin): readonly Uint8Array[] {
    const constants = this.#constants(origin);
    return changes.map((change) => {
      try {
        return this.#row(change, constants);
      } catch (error) {
        this.#writer.discard();
        throw error;
      }
    });
  }

  #constants({ batchId, loadedAtUs }: RowsOrigin): Uint8Array {
    const { version } = this.#layout;
    this.#writer.int64(tags._cdc_loaded_at, loadedAtUs);
    this.#writer.text(tags._cdc_topic, version.topic);
    this.#writer.integer(tags._cdc_schema_id, version.valueSchemaId);
    this.#writer.text(tags._cdc_batch_id, batchId);
    return this.#writer.finish();
  }

  #row(change: Change, constants: Uint8Array): Uint8Array {
    const writer = this.#writer;
    writer.raw(constants);
    writer.text(tags._cdc_op, change.op);
    writer.text(tags._cdc_seq, change.seq);
    writer.text(tags._cdc_lsn, formatLsn(change.lsn));
    if (change.xid !== null) writer.int64(tags._cdc_xid, change.xid);
    if (change.committedAtUs !== null) {
      writer.int64(tags._cdc_committed_at, change.committedAtUs);
    }
    writer.int64(tags._cdc_captured_at, change.capturedAtUs);
    writer.integer(tags._cdc_partition, change.partition);
    writer.integer(tags._cdc_offset, change.offset);
    if ('unchanged' in change) {
      for (const index of change.unchanged) {
        writer.text(tags._cdc_unchanged, this.#layout.columns[index]?.name ?? '');
      }
    }
    if (change.op === 't') return writer.finish();
    const exact = this.#image.write(writer, change.op === 'd' ? change.before : change.after);
    if (exact !== null) writer.text(tags._cdc_exact, exact);
    return writer.finish();
  }
}

function metaFields(): readonly RowField[] {
  return metaNames.map((name, index) => ({
    name,
    number: index + 1,
    label: name === '_cdc_unchanged' ? 3 : 1,
    type: fieldTypes[metaTypes[name]],
  }));
}
