import { PipelineError } from '../../runtime/errors.ts';

/**
 * What a failed read means: the table is gone; it is locked and will be free; the connection or the
 * server failed and may come back; or nothing mends it.
 */
export type ReadFailure =
  | { readonly kind: 'gone' }
  | { readonly kind: 'locked' }
  | { readonly kind: 'slow' }
  | { readonly kind: 'passing'; readonly error: PipelineError }
  | { readonly kind: 'final'; readonly error: PipelineError };

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function classifyFailure(error: unknown, table: string): ReadFailure {
  if (error instanceof PipelineError) {
    return { kind: error.policy.retry === 'backoff' ? 'passing' : 'final', error };
  }
  const code = codeOf(error);
  if (code === '42P01' || code === '3F000') return { kind: 'gone' };
  if (code === '55P03') return { kind: 'locked' };
  // A cancelled statement: by its own timeout, by an operator, or by a standby's conflict.
  if (code === '57014') return { kind: 'slow' };
  if (code === '42501') return { kind: 'final', error: denied(error, table) };
  if (isPassing(code, error)) return { kind: 'passing', error: unreachable(error, table) };
  const message = `reading ${table} for its snapshot failed: ${messageOf(error)}`;
  // An error without a code is not PostgreSQL's: a defect, which no name should hide.
  const isServer = /^[0-9A-Z]{5}$/.test(code);
  const final = new PipelineError(isServer ? 'source-unfit' : 'protocol-violation', message, {
    context: { table, code },
    cause: error,
  });
  return { kind: 'final', error: final };
}

const networkCodes =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ERR_STREAM_PREMATURE_CLOSE|ERR_STREAM_DESTROYED)$/;

function isPassing(code: string, error: unknown): boolean {
  // Classes: connection, transaction rollback, resources, operator intervention, system error.
  if (/^(08|40|53|57P|58)/.test(code)) return true;
  if (networkCodes.test(code)) return true;
  return /^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(
    messageOf(error),
  );
}

function denied(error: unknown, table: string): PipelineError {
  return new PipelineError(
    'source-denied',
    `PostgreSQL lets the role not read ${table}: ${messageOf(error)}`,
    {
      hint: `grant select on ${table} to the role; with row-level security the role also needs bypassrls`,
      context: { table },
      cause: error,
    },
  );
}

function unreachable(error: unknown, table: string): PipelineError {
  return new PipelineError(
    'source-unreachable',
    `the connection that reads ${table} for its snapshot broke: ${messageOf(error)}`,
    { context: { table }, cause: error },
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : '';
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}
