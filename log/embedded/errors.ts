import { PipelineError } from '../../runtime/errors.ts';
import type { ErrorKind } from '../../runtime/errors.ts';

interface SqliteFailure {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly hint?: string;
}

/** Result codes of SQLite, https://www.sqlite.org/rescode.html; extended ones as a whole first. */
const failures: Readonly<Record<number, SqliteFailure>> = {
  // SQLITE_IOERR_SHORT_READ: the file ends where its own header says it goes on.
  522: { kind: 'log-corrupt', reason: 'the file is cut short' },
  // SQLITE_ERROR: our statements are fixed, so the tables are not those that they were written for.
  1: { kind: 'log-corrupt', reason: 'its tables are not those of a log' },
  5: {
    kind: 'log-unwritable',
    reason: 'another process kept it locked',
    hint: 'see which other process writes to this log and how long its disk takes',
  },
  8: {
    kind: 'log-unwritable',
    reason: 'the file is read-only',
    hint: 'make the file and its folder writable for this user',
  },
  10: {
    kind: 'log-unwritable',
    reason: 'the disk failed to read or write',
    hint: 'check the disk, its free space and file size limits',
  },
  11: { kind: 'log-corrupt', reason: 'the file is damaged' },
  13: {
    kind: 'log-unwritable',
    reason: 'the disk is full',
    hint: 'free space on the disk of the log, or set a smaller retention',
  },
  14: {
    kind: 'log-unwritable',
    reason: 'the file cannot be opened',
    hint: 'check that the path exists and this user may read and write there',
  },
  // SQLITE_CONSTRAINT: only an offset that is already taken can cause it.
  19: { kind: 'log-conflict', reason: 'another writer took the same offsets' },
  26: { kind: 'log-corrupt', reason: 'the file is no SQLite database' },
};

const unknownFailure: SqliteFailure = { kind: 'log-unwritable', reason: 'SQLite failed' };

/** Runs `use`; failures of SQLite become errors of the log at `path`. */
export function translated<T>(path: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    throw translate(path, error);
  }
}

/** SQLite's error → PipelineError, by its result code; every other error stays as it is. */
export function translate(path: string, error: unknown): unknown {
  const code = sqliteCode(error);
  if (code === undefined) return error;
  const failure = failures[code] ?? failures[code & 0xff] ?? unknownFailure;
  return new PipelineError(failure.kind, `log ${path}: ${failure.reason}`, {
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    context: { path, sqliteCode: code },
    cause: error,
  });
}

function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode : undefined;
}
