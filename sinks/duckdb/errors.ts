import { PipelineError, type PipelineErrorOptions } from '../../runtime/errors.ts';

/**
 * DuckDB's errors as ours: the one place where its texts are read. Texts that can quote a row's values
 * (conversions, constraints) are left out of the message and of the cause.
 */
export function translateDuckdbError(error: unknown, path: string): unknown {
  if (error instanceof PipelineError || !(error instanceof Error)) return error;
  const text = error.message;
  const rule = rules.find(({ pattern }) => pattern.test(text));
  if (rule !== undefined) return rule.make({ path, text, cause: error });
  const kind = /^([A-Z][A-Za-z ]*Error):/.exec(text)?.[1];
  // Not one of DuckDB's: a defect of ours must not look like trouble with the file.
  if (kind === undefined) return error;
  const safe = quotesNoValues.test(kind);
  return new PipelineError(
    'sink-failed',
    `DuckDB refused a statement on the lake ${path}: ${safe ? firstLine(text) : kind}`,
    { context: { path, duckdb: kind }, ...(safe ? { cause: error } : {}) },
  );
}

/** The process that holds the lake file, as DuckDB's message names it. */
export function holderPid(error: unknown): number | undefined {
  if (!(error instanceof PipelineError)) return undefined;
  const pid = error.context['holderPid'];
  return typeof pid === 'number' ? pid : undefined;
}

export function lockedError(path: string, pid: number | undefined, cause?: unknown): PipelineError {
  const holder = pid === undefined ? 'another process' : `process ${pid}`;
  return new PipelineError('sink-locked', `the lake ${path} is held by ${holder}`, {
    hint:
      pid === undefined
        ? 'close the other program that holds the lake file'
        : `close the program with PID ${pid} (see \`ps -p ${pid}\`); DuckDB lets one process have a file`,
    context: { path, ...(pid === undefined ? {} : { holderPid: pid }) },
    ...(cause === undefined ? {} : { cause }),
  });
}

interface Found {
  readonly path: string;
  readonly text: string;
  readonly cause: Error;
}

interface Rule {
  readonly pattern: RegExp;
  make(found: Found): PipelineError;
}

const quotesNoValues =
  /^(IO|Catalog|Binder|Parser|TransactionContext|Transaction|Permission|Out of Memory|Dependency) Error$/;

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

const failed = (found: Found, message: string, options: PipelineErrorOptions): PipelineError =>
  new PipelineError('sink-failed', message, {
    context: { path: found.path },
    cause: found.cause,
    ...options,
  });

const rules: readonly Rule[] = [
  {
    // "Could not set lock on file ...: Conflicting lock is held in /usr/bin/node (PID 4711)"
    pattern: /Could not set lock on file|Conflicting lock is held/,
    make: ({ path, text, cause }) => {
      const pid = /\(PID (\d+)\)/.exec(text)?.[1];
      return lockedError(path, pid === undefined ? undefined : Number(pid), cause);
    },
  },
  {
    pattern:
      /No space left on device|ENOSPC|failed to write .* disk full|exceeded.*max_temp_directory_size/i,
    make: (found) =>
      failed(found, `the disk under the lake ${found.path} is full`, {
        hint: 'free space on that disk; nothing was applied, loading goes on from the checkpoint',
      }),
  },
  {
    pattern:
      /not a valid DuckDB database file|[Cc]orrupt|Serialization Error|checksum|failed to deserialize|WAL file .* (invalid|broken)|Failure while replaying WAL|INTERNAL Error|FATAL Error|read past end of file|Could not read enough bytes/,
    make: ({ path, text, cause }) =>
      new PipelineError('sink-corrupt', `the lake ${path} cannot be read: ${firstLine(text)}`, {
        context: { path },
        cause,
      }),
  },
  {
    pattern: /Permission denied|Read-only file system/,
    make: (found) =>
      failed(found, `the lake ${found.path} cannot be written: permission denied`, {
        hint: `let this user read and write ${found.path} and its folder`,
      }),
  },
  {
    pattern: /Cannot open (file|database)|No such file or directory|does not exist$/,
    make: (found) =>
      failed(found, `the lake ${found.path} cannot be opened: ${firstLine(found.text)}`, {
        hint: 'check the path; `tributary run` makes the file in an existing folder',
      }),
  },
  {
    pattern: /Out of Memory Error/,
    make: (found) =>
      failed(found, `DuckDB ran out of its memory limit on the lake ${found.path}`, {
        hint: 'raise the memory limit of the sink, or lower its batch size',
      }),
  },
];
