import { PipelineError, type ErrorKind } from '../../runtime/errors.ts';

/** What was being done when PostgreSQL or the network failed: decides how a bare disconnection reads. */
export type SourceActivity = 'connecting' | 'querying' | 'streaming';

interface Translation {
  readonly kind: ErrorKind;
  readonly hint?: string;
}

const unreachableCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
]);

/** SQLSTATE → kind and hint. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const translations: Readonly<Record<string, Translation>> = {
  '28P01': { kind: 'source-denied', hint: 'correct the user or password in source.url' },
  '28000': {
    kind: 'source-denied',
    hint: 'allow the role in pg_hba.conf (logical replication uses its database entry) and run: alter role <role> with login replication',
  },
  '42501': {
    kind: 'source-denied',
    hint: 'run `tributary check`: it prints the grants that are missing',
  },
  '3D000': { kind: 'source-denied', hint: 'correct the database name in source.url' },
  '55006': { kind: 'slot-in-use' },
  '53300': {
    kind: 'source-unreachable',
    hint: 'raise max_connections or max_wal_senders, or stop another replication client',
  },
  '53400': {
    kind: 'source-unfit',
    hint: 'raise max_replication_slots, or drop a slot that is not used',
  },
  '57P01': { kind: 'source-unreachable' },
  '57P02': { kind: 'source-unreachable' },
  '57P03': { kind: 'source-unreachable' },
};

/**
 * Gives the PipelineError for anything that `pg`, the socket or PostgreSQL threw. PostgreSQL's own
 * message is kept: for what this program asks, it names objects and settings, never row values.
 */
export function translateSourceError(error: unknown, activity: SourceActivity): unknown {
  if (error instanceof PipelineError || !(error instanceof Error)) return error;
  const code = codeOf(error);
  const text = firstLine(error);
  const known = translationOfMessage(code, error.message) ?? translations[code] ?? null;
  if (known !== null) {
    return sourceError(known, `PostgreSQL refused: ${text}`, { code, cause: error });
  }
  if (code !== '' && unreachableCodes.has(code)) {
    return sourceError({ kind: 'source-unreachable' }, `cannot reach PostgreSQL: ${text}`, {
      code,
      cause: error,
    });
  }
  if (isDisconnection(code, error.message)) return disconnection(error, activity);
  if (isTlsFailure(code, error.message)) {
    const hint = 'check sslmode and sslrootcert in source.url against the server certificate';
    return sourceError({ kind: 'source-denied', hint }, `TLS to PostgreSQL failed: ${text}`, {
      code,
      cause: error,
    });
  }
  if (/^[0-9A-Z]{5}$/.test(code)) {
    return sourceError({ kind: 'source-unfit' }, `PostgreSQL answered ${code}: ${text}`, {
      code,
      cause: error,
    });
  }
  return error;
}

function translationOfMessage(code: string, message: string): Translation | null {
  if (/wal_level/.test(message)) return { kind: 'source-unfit', hint: walLevelHint };
  if (code === '42704' && /publication/.test(message)) {
    return {
      kind: 'source-unfit',
      hint: 'create the publication: `tributary check` prints the SQL',
    };
  }
  if (code === '42704' && /replication slot/.test(message)) return { kind: 'source-gap' };
  if (/can no longer (get changes from|access) replication slot/.test(message)) {
    return { kind: 'source-gap' };
  }
  if (code === '42501' && /wal ?sender|replication/i.test(message)) {
    return { kind: 'source-denied', hint: 'run as superuser: alter role <role> with replication' };
  }
  if (/^SASL|password must be a string/.test(message)) {
    return { kind: 'source-denied', hint: 'put the password into source.url' };
  }
  return null;
}

const walLevelHint =
  'run: alter system set wal_level = logical; then restart PostgreSQL (managed services: the parameter group)';

function isDisconnection(code: string, message: string): boolean {
  return (
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    /^Connection terminated|^Client has encountered a connection error|^timeout e/.test(message) ||
    /connection timeout|not queryable/.test(message)
  );
}

function disconnection(error: Error, activity: SourceActivity): PipelineError {
  const kind = activity === 'connecting' ? 'source-unreachable' : 'stream-broken';
  const what = activity === 'connecting' ? 'cannot reach PostgreSQL' : 'the connection broke';
  return sourceError({ kind }, `${what}: ${firstLine(error)}`, {
    code: codeOf(error),
    cause: error,
  });
}

function isTlsFailure(code: string, message: string): boolean {
  return /^ERR_TLS|CERT|SELF_SIGNED|UNABLE_TO_/.test(code) || /SSL connection/.test(message);
}

function sourceError(
  translation: Translation,
  message: string,
  details: { readonly code: string; readonly cause: Error },
): PipelineError {
  return new PipelineError(translation.kind, message, {
    ...(translation.hint === undefined ? {} : { hint: translation.hint }),
    context: details.code === '' ? {} : { code: details.code },
    cause: details.cause,
  });
}

function codeOf(error: Error): string {
  if ('code' in error && typeof error.code === 'string') return error.code;
  // Node tries every address of a host and reports them together.
  if (error instanceof AggregateError && error.errors[0] instanceof Error) {
    return codeOf(error.errors[0]);
  }
  return '';
}

function firstLine(error: Error): string {
  if (error.message === '' && error instanceof AggregateError && error.errors[0] instanceof Error) {
    return firstLine(error.errors[0]);
  }
  return error.message.split('\n', 1)[0] ?? '';
}
