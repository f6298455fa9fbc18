import { assert } from '../../runtime/assert.ts';
import type { Change, RowImage } from '../../schemas/change.ts';
import type { VersionColumn, VersionLayout } from '../lake/layout.ts';
import { ImageEncoder, type RowDescriptor, type RowField } from './encode-image.ts';
import { fieldTags, fieldTypes, type ProtoType, ProtoWriter } from './proto-writer.ts';

/** A row of `T__state` by its key: what it is now, or that it is gone. */
export interface StateRow {
  readonly change: Change;
  readonly isDeleted: boolean;
  /** Of a deleted row the key at least. */
  readonly image: RowImage;
}

/** Columns of the lake that are newer than the version, and what its rows read there. */
export interface LaterValues {
  readonly columns: readonly VersionColumn[];
  readonly image: RowImage;
}

const metaTypes = {
  _CHANGE_TYPE: 'string',
  _CHANGE_SEQUENCE_NUMBER: 'string',
  _cdc_seq: 'string',
  _cdc_deleted: 'bool',
  _cdc_committed_at: 'int64',
  _cdc_schema_id: 'int64',
  _cdc_exact: 'string',
} as const satisfies Readonly<Record<string, ProtoType>>;

const metaNames = Object.keys(metaTypes) as readonly (keyof typeof metaTypes)[];
const tags = fieldTags(metaTypes);

const metaFields = metaNames.map((name, index): RowField => {
  return { name, number: index + 1, label: 1, type: fieldTypes[metaTypes[name]] };
});

/** What `_CHANGE_SEQUENCE_NUMBER` takes. https://cloud.google.com/bigquery/docs/change-data-capture#manage_custom_ordering */
const sequenceNumber = /^[0-9A-F]{1,16}(\/[0-9A-F]{1,16}){0,3}$/;

/**
 * Rows of `T__state` as changes by key. Their order is that of `_cdc_seq`, whenever they arrive: a row that is
 * sent again, or by an owner that was replaced, changes nothing that is newer.
 * https://cloud.google.com/bigquery/docs/change-data-capture
 */
export class StateRowEncoder {
  readonly descriptor: RowDescriptor;
  readonly #image: ImageEncoder;
  readonly #later: ImageEncoder;
  readonly #laterImage: RowImage;
  readonly #schemaId: number;
  readonly #writer = new ProtoWriter();

  constructor({ columns, version }: VersionLayout, later: LaterValues) {
    const first = metaNames.length + 1;
    this.#image = new ImageEncoder(columns, first);
    this.#later = new ImageEncoder(later.columns, first + columns.length);
    this.#laterImage = later.image;
    this.#schemaId = version.valueSchemaId;
    const field = [...metaFields, ...this.#image.fields, ...this.#later.fields];
    this.descriptor = { name: 'Row', field };
  }

  /** Throws `value-invalid` when a value is not of its type. */
  encode(rows: readonly StateRow[]): readonly Uint8Array[] {
    return rows.map((row) => {
      try {
        return this.#row(row);
      } catch (error) {
        this.#writer.discard();
        throw error;
      }
    });
  }

  #row({ change, isDeleted, image }: StateRow): Uint8Array {
    const writer = this.#writer;
    const { seq, committedAtUs } = change;
    assert(sequenceNumber.test(seq), `position ${seq} is a change sequence number`);
    writer.text(tags._CHANGE_TYPE, isDeleted ? 'DELETE' : 'UPSERT');
    writer.text(tags._CHANGE_SEQUENCE_NUMBER, seq);
    writer.text(tags._cdc_seq, seq);
    writer.bool(tags._cdc_deleted, isDeleted);
    if (committedAtUs !== null) writer.int64(tags._cdc_committed_at, committedAtUs);
    writer.integer(tags._cdc_schema_id, this.#schemaId);
    const exact = this.#image.write(writer, image);
    const later = isDeleted ? null : this.#later.write(writer, this.#laterImage);
    const exacts = joined(exact, later);
    if (exacts !== null) writer.text(tags._cdc_exact, exacts);
    return writer.finish();
  }
}

/** The members of two JSON objects, none of which is empty. */
function joined(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other;
  return `${one.slice(0, -1)},${other.slice(1)}`;
}
