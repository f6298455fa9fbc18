import type { RowImage, Value } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { columnsIdentity, type Identity } from '../../schemas/value-identity.ts';
import type { LakeColumn, VersionColumn, VersionLayout } from '../lake/layout.ts';
import type { FoldedRow } from '../sink.ts';
import type { LakeConnection, TextRow } from './client.ts';
import { type LaterValues, type StateRow, StateRowEncoder } from './encode-state-row.ts';
import { encodeValue } from './encode.ts';
import { EncoderCache } from './encoder-cache.ts';
import { keysOf, quoteName, quoteText, stateOf } from './sql.ts';
import { imageList, readImage } from './stored-image.ts';
import type { WriteStreams } from './write-streams.ts';

export interface KeyedWriter {
  readonly lake: LakeConnection;
  readonly writes: WriteStreams;
  /** Whether tables may show readers rows that are not the newest. */
  readonly hasStaleness: boolean;
  /** Called after each part of a table's rows. */
  readonly onWritten: () => void;
}

/** Characters of one query's keys: a query has 1 MB. https://cloud.google.com/bigquery/quotas#query_jobs */
const keyTextMax = 400_000;

type Filled = Extract<FoldedRow, { readonly deleted: false }>;

/** A row as it is stored: values of the columns that were asked for. */
interface StoredRow {
  readonly seq: PositionText;
  readonly image: RowImage;
}

/**
 * Writes rows of `T__state` by their key, each whole, to the table's default stream. BigQuery keeps the row with
 * the highest `_cdc_seq`, so writing twice, or late, changes nothing.
 *
 * Only values that the source did not send (`unchanged`) need more. They are read from the stored row of the
 * base key, which must be as it was before the batch. An owner that died, or one that was replaced, may have
 * written a part of this batch or of a later one already, the base row too. Therefore rows with such values are
 * written before all others, and among them each before the row that replaces its base. So whenever a base row
 * is newer than the batch, the row that took values from it is there, or was deleted since: what is at or above
 * the position of a row that is to be written is left alone.
 */
export class KeyedState {
  readonly #writer: KeyedWriter;
  readonly #encoders = new EncoderCache((layout) => this.#encoderOf(layout));
  readonly #fresh = new Set<string>();

  constructor(writer: KeyedWriter) {
    this.#writer = writer;
  }

  /** Resolves when the rows are taken. Nothing below the floor is written. */
  async write(
    layout: VersionLayout,
    rows: readonly FoldedRow[],
    floor: PositionText | null,
  ): Promise<void> {
    const kept = rows.filter(({ change }) => floor === null || change.seq >= floor);
    if (kept.length === 0) return;
    const lacking = kept.filter((row): row is Filled => !row.deleted && row.unchanged.length > 0);
    const others = kept.filter((row) => row.deleted || row.unchanged.length === 0);
    const encoder = await this.#encoders.of(layout);
    const stream = this.#writer.writes.defaultStream(layout.names.state);
    for (const part of [await this.#fill(layout, lacking), others.map(stateRow)]) {
      if (part.length === 0) continue;
      const encoded = encoder.encode(part);
      const { descriptor } = encoder;
      await this.#writer.writes.append({ stream, offset: null, descriptor, rows: encoded });
      this.#writer.onWritten();
    }
  }

  /** The rows with what they lack, in the order in which they are to be written. */
  async #fill(layout: VersionLayout, rows: readonly Filled[]): Promise<readonly StateRow[]> {
    if (rows.length === 0) return [];
    const key = keysOf(layout).map(({ index }) => index);
    const stored = await this.#storedRows(layout, rows);
    return basesLast(rows, key).flatMap((row): readonly StateRow[] => {
      const { change, unchanged } = row;
      const own = stored.get(columnsIdentity(row.image, key));
      if (own !== undefined && own.seq >= change.seq) return [];
      const base = stored.get(columnsIdentity(row.baseKey, key));
      const image = [...row.image];
      for (const index of unchanged) image[index] = base?.image[index] ?? null;
      return [{ change, isDeleted: false, image }];
    });
  }

  /** The rows' own and base rows as they are stored, by key. */
  async #storedRows(
    layout: VersionLayout,
    rows: readonly Filled[],
  ): Promise<ReadonlyMap<Identity, StoredRow>> {
    const { lake } = this.#writer;
    await this.#readNewest(layout);
    const key = keysOf(layout);
    const keyIndices = key.map(({ index }) => index);
    const wanted = new Map<Identity, RowImage>();
    for (const { image, baseKey } of rows) {
      for (const one of [image, baseKey]) wanted.set(columnsIdentity(one, keyIndices), one);
    }
    const indices = [...new Set([...keyIndices, ...rows.flatMap(({ unchanged }) => unchanged)])];
    const columns = indices.flatMap((index) => layout.columns[index] ?? []);
    const selected = ['_cdc_seq', ...imageList(columns)].join(', ');
    const names = key.map(({ column }) => quoteName(column.physical)).join(', ');
    const stored = new Map<Identity, StoredRow>();
    for (const keys of keyTexts(layout, wanted.values())) {
      const sql = `select ${selected} from ${stateOf(layout.names)} where (${names}) in (${keys})`;
      for await (const page of lake.pages(sql)) {
        for (const row of page) {
          const one = storedRow(layout, indices, row);
          stored.set(columnsIdentity(one.image, keyIndices), one);
        }
      }
    }
    return stored;
  }

  /** Whoever reads with staleness may get a row as it was some minutes ago: such a table becomes exact for good. */
  async #readNewest({ names }: VersionLayout): Promise<void> {
    if (!this.#writer.hasStaleness || this.#fresh.has(names.state)) return;
    await this.#writer.lake.run(
      `alter table ${stateOf(names)} set options (max_staleness = interval 0 minute)`,
    );
    this.#fresh.add(names.state);
  }

  async #encoderOf(layout: VersionLayout): Promise<StateRowEncoder> {
    return new StateRowEncoder(layout, await laterValues(this.#writer.lake, layout.later));
  }
}

function stateRow(row: FoldedRow): StateRow {
  const { change } = row;
  return row.deleted
    ? { change, isDeleted: true, image: row.key }
    : { change, isDeleted: false, image: row.image };
}

/** Each row before the one that replaces its base. Where bases go round in a circle, it is cut open. */
function basesLast(rows: readonly Filled[], key: readonly number[]): readonly Filled[] {
  const readers = Map.groupBy(rows, ({ baseKey }) => columnsIdentity(baseKey, key));
  const ordered: Filled[] = [];
  const seen = new Set<Filled>();
  // Not by recursion: a chain may be as long as the batch.
  for (const first of rows) {
    const path = seen.has(first) ? [] : [first];
    for (let row = path.at(-1); row !== undefined; row = path.at(-1)) {
      seen.add(row);
      const identity = columnsIdentity(row.image, key);
      const next = readers.get(identity)?.find((reader) => !seen.has(reader));
      if (next !== undefined) path.push(next);
      else {
        path.pop();
        ordered.push(row);
      }
    }
  }
  return ordered;
}

function storedRow(
  layout: VersionLayout,
  indices: readonly number[],
  [seq = null, ...cells]: TextRow,
): StoredRow {
  const columns = indices.flatMap((index) => layout.columns[index] ?? []);
  const values = readImage(columns, cells);
  const image: Value[] = layout.columns.map(() => null);
  for (const [at, index] of indices.entries()) image[index] = values[at] ?? null;
  return { seq: String(seq), image };
}

/** The keys of rows as lists of SQL, each of a bounded length. */
function* keyTexts(layout: VersionLayout, images: Iterable<RowImage>): Generator<string> {
  const key = keysOf(layout);
  let texts: string[] = [];
  let length = 0;
  for (const image of images) {
    const cells = key.map(({ index, column }) => literal(column, image[index] ?? null));
    const text = `(${cells.join(', ')})`;
    if (length + text.length > keyTextMax && texts.length > 0) {
      yield texts.join(', ');
      texts = [];
      length = 0;
    }
    texts.push(text);
    length += text.length + 2;
  }
  if (texts.length > 0) yield texts.join(', ');
}

function literal({ type, lakeType }: VersionColumn, value: Value): string {
  if (value === null) return 'null';
  const { cell } = encodeValue(type, value, lakeType);
  return lakeType === 'STRING' ? quoteText(String(cell)) : String(cell);
}

/** A type of the source whose values are all that a column of the lake holds. */
const fullTypes: Readonly<Record<string, LogicalType>> = {
  BOOL: { kind: 'bool' },
  INT64: { kind: 'int8' },
  FLOAT64: { kind: 'float8' },
  NUMERIC: { kind: 'numeric', precision: 38, scale: 9 },
  BIGNUMERIC: { kind: 'numeric', precision: 76, scale: 38 },
  DATE: { kind: 'date' },
  TIME: { kind: 'time', precision: 6 },
  DATETIME: { kind: 'timestamp', precision: 6 },
  TIMESTAMP: { kind: 'timestamptz', precision: 6 },
  BYTES: { kind: 'bytea' },
  JSON: { kind: 'jsonb' },
};

/** What rows of an older version read in the columns that came after it. Their constants are SQL, so it is asked. */
async function laterValues(
  lake: LakeConnection,
  later: readonly LakeColumn[],
): Promise<LaterValues> {
  const columns = later.map(({ physical, type }): VersionColumn => {
    const full = fullTypes[type] ?? { kind: 'text' };
    return { name: physical, physical, type: full, lakeType: type, isKey: false };
  });
  if (columns.length === 0) return { columns, image: [] };
  const constants = later.map(
    ({ physical, missing }) => `${missing ?? 'null'} as ${quoteName(physical)}`,
  );
  const exacts = later.flatMap(({ physical, missingExact: exact }) =>
    exact === undefined ? [] : [[physical, exact] as const],
  );
  const exact =
    exacts.length === 0 ? 'null' : quoteText(JSON.stringify(Object.fromEntries(exacts)));
  const [row = []] = await lake.rows(/* sql */ `
    select ${imageList(columns).join(', ')}
    from (select ${constants.join(', ')}, cast(${exact} as string) as _cdc_exact) as constants`);
  return { columns, image: readImage(columns, row) };
}
