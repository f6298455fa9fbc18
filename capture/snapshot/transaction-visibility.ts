import { PipelineError } from '../../runtime/errors.ts';

/**
 * What `pg_current_snapshot()` says: every transaction below `xmin` has ended, every one from `xmax` on had
 * not ended, between them only those in `inProgress` had not. Top-level transaction ids of 64 bits.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
 */
export interface TransactionSnapshot {
  readonly xmin: bigint;
  readonly xmax: bigint;
  readonly inProgress: ReadonlySet<bigint>;
}

const epochBits = 32n;
const epochSize = 1n << epochBits;
const halfEpoch = epochSize >> 1n;

/** "10:20:10,14,15" → the snapshot. Throws `protocol-violation` on anything else. */
export function parseTransactionSnapshot(text: string): TransactionSnapshot {
  const match = /^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$/.exec(text);
  if (match === null) {
    throw new PipelineError('protocol-violation', `"${text}" is not a transaction snapshot`);
  }
  const listed = match[3] ?? '';
  return {
    xmin: BigInt(match[1] ?? ''),
    xmax: BigInt(match[2] ?? ''),
    inProgress: new Set(listed === '' ? [] : listed.split(',').map(BigInt)),
  };
}

/**
 * The 64-bit id of a 32-bit id that pgoutput sent: the one nearest to `near`. Both live within 2^31
 * transactions of each other, or PostgreSQL itself could not tell old from new.
 */
export function fullTransactionId(xid: number, near: bigint): bigint {
  const candidate = (near & ~(epochSize - 1n)) | BigInt(xid);
  if (candidate - near > halfEpoch && candidate >= epochSize) return candidate - epochSize;
  if (near - candidate > halfEpoch) return candidate + epochSize;
  return candidate;
}

/** Whether the effects of this committed transaction are in what the snapshot sees. */
export function isVisible(snapshot: TransactionSnapshot, xid: number): boolean {
  const full = fullTransactionId(xid, snapshot.xmax);
  if (full < snapshot.xmin) return true;
  return full < snapshot.xmax && !snapshot.inProgress.has(full);
}
