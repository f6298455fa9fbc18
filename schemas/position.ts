import { PipelineError } from '../runtime/errors.ts';

/** 0 the change (for a key change: the delete of the old key), 1 the tombstone after a delete, 2 the insert half of a key change. */
export type Part = 0 | 1 | 2;

/**
 * The place of one record in the one order of everything. Never a row's own LSN: rows of interleaved
 * transactions, COPY and multi-row INSERTs share or disorder those.
 */
export interface Position {
  /** u16; rises when the slot was re-created, the timeline forked or the cluster replaced. */
  readonly generation: number;
  /** u64; where the transaction's commit record starts; for a snapshot chunk its fence. */
  readonly commitLsn: bigint;
  /** u32; number of the change in its transaction, or of the row in its chunk. */
  readonly ordinal: number;
  readonly part: Part;
}

/** Position text compares as strings in commit order; also a legal BigQuery `_CHANGE_SEQUENCE_NUMBER`. */
export type PositionText = string;

export const positionTextLength = 32;

/** Of it, what comes before the ordinal: the same for every change of a transaction. */
export const positionPrefixLength = 22;

/** The text below every real position: what a new sink has applied. */
export const positionZero: PositionText = '0000/0000000000000000/00000000/0';

const hex = (value: number | bigint, width: number): string =>
  value.toString(16).toUpperCase().padStart(width, '0');

/** → "0001/00000000016B3748/0000002A/0" */
export function formatPosition(position: Position): PositionText {
  const { generation, commitLsn, ordinal, part } = position;
  return `${hex(generation, 4)}/${hex(commitLsn, 16)}/${hex(ordinal, 8)}/${part}`;
}

/** The last position that a commit at this LSN can have: the cut "everything up to and with it". */
export function cutAfter(generation: number, commitLsn: bigint): PositionText {
  return `${hex(generation, 4)}/${hex(commitLsn, 16)}/FFFFFFFF/2`;
}

/** Reads what `formatPosition` wrote. Throws `protocol-violation` on anything else. */
export function parsePosition(text: PositionText): Position {
  const match = /^([0-9A-F]{4})\/([0-9A-F]{16})\/([0-9A-F]{8})\/([012])$/.exec(text);
  if (match === null) throw new PipelineError('protocol-violation', `"${text}" is not a position`);
  return {
    generation: Number.parseInt(match[1] ?? '', 16),
    commitLsn: BigInt(`0x${match[2]}`),
    ordinal: Number.parseInt(match[3] ?? '', 16),
    part: Number(match[4]) as Part,
  };
}

/** The later of two positions; null comes before every one. */
export const newerPosition = (
  one: PositionText | null,
  other: PositionText | null,
): PositionText | null => ((one ?? '') < (other ?? '') ? other : one);
