import type { PositionText } from './position.ts';

/** Names of the headers that say what Debezium's record cannot. */
export const headerSeq = 'tributary.seq';
/** JSON array of the column names whose TOASTed value was not sent. */
export const headerUnchanged = 'tributary.unchanged';
/**
 * JSON object column name → exact PostgreSQL text, of values that the Avro type cannot hold; null =
 * SQL NULL in a field that is not nullable. Speaks of `after`, in a delete of `before`.
 */
export const headerExact = 'tributary.exact';
/** The same for `before` of an update under REPLICA IDENTITY FULL. */
export const headerExactBefore = 'tributary.exact.before';

/** Topics beside the tables' own. All have one partition and JSON values. */
export const controlTopics = (prefix: string) => ({
  progress: `${prefix}.tributary.progress`,
  watermarks: `${prefix}.tributary.watermarks`,
  schemas: `${prefix}.tributary.schemas`,
  /** Which sink processes live and what they load; written by the sinks that share a lake. */
  members: `${prefix}.tributary.members`,
});

/**
 * "The changes up to position `cut` are exactly the records below these end offsets." JSON on
 * `<prefix>.tributary.watermarks`.
 */
export interface Watermark {
  readonly cut: PositionText;
  /** Every transaction that committed before this LSN is below the cut, none after it. */
  readonly lsn: string;
  /** Commit time of the newest transaction below the cut, microseconds since 1970 as decimal text; null when there was none. */
  readonly committedAtUs: string | null;
  /** False inside a huge transaction: fold, but show no reader. */
  readonly publish: boolean;
  /** True: `ends` names every partition. False: only those that moved since the watermark before. */
  readonly full: boolean;
  /** topic → next offset of each partition. */
  readonly ends: Readonly<Record<string, readonly number[]>>;
}
