import { type ErrorKind, PipelineError } from '../../runtime/errors.ts';
import { errorOfProto, type LakePlace } from './errors.ts';

/** gRPC's codes by number. https://grpc.io/docs/guides/status-codes/ */
const codeNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
export type CodeName = (typeof codeNames)[number];

export const codeName = (code: number | null | undefined): CodeName =>
  codeNames[code ?? 2] ?? 'UNKNOWN';

/** `StorageError.StorageErrorCode`, the ones that are told apart. */
const storageNames: Readonly<Record<number, string>> = {
  6: 'STREAM_FINALIZED',
  7: 'SCHEMA_MISMATCH_EXTRA_FIELDS',
  8: 'OFFSET_ALREADY_EXISTS',
  9: 'OFFSET_OUT_OF_RANGE',
};

interface Detail {
  readonly type_url?: string | null;
  readonly value?: Uint8Array | string | null;
}

/** The service's own code among a status' details: field 1 of a `StorageError`, a varint below 128. */
export function storageCode(details: readonly Detail[] | null | undefined): string | undefined {
  const found = details?.find((detail) => detail.type_url?.endsWith('.StorageError') === true);
  const bytes = found?.value;
  if (!(bytes instanceof Uint8Array) || bytes[0] !== 0x08) return undefined;
  return storageNames[bytes[1] ?? 0];
}

export interface RowRefusal {
  /** Place of the row in its request. */
  readonly index: number;
  readonly message: string;
}

/** How the service refused a request, or how a connection ended. */
export interface StorageStatus {
  readonly code: CodeName;
  /** The service's own code, where it gives one. */
  readonly storage?: string | undefined;
  readonly message: string;
  readonly rows?: readonly RowRefusal[];
}

/** Thrown inside the Storage Write client; never leaves it. */
export class StorageFailure extends Error {
  readonly status: StorageStatus;

  constructor(status: StorageStatus, cause?: unknown) {
    super(`${status.storage ?? status.code}: ${status.message}`, { cause });
    this.status = status;
  }
}

/** What an append does after a failure. */
export type Verdict =
  /** The rows are there. */
  | 'taken'
  /** Again at once, then with growing pauses. */
  | 'again'
  /** Again, with longer pauses. */
  | 'later'
  /** Again with a new token: the old one may have expired. */
  | 'anew'
  /** Again for a while: what was made a moment ago is not known everywhere. */
  | 'unknown-yet'
  | 'refused';

/** https://cloud.google.com/bigquery/docs/write-api-best-practices#handle-errors */
export function verdictOf({ code, storage, rows = [] }: StorageStatus): Verdict {
  if (storage === 'SCHEMA_MISMATCH_EXTRA_FIELDS') return 'unknown-yet';
  if (storage === 'STREAM_FINALIZED' || rows.length > 0) return 'refused';
  switch (code) {
    case 'ALREADY_EXISTS':
      return 'taken';
    case 'CANCELLED':
    case 'DEADLINE_EXCEEDED':
    case 'ABORTED':
    case 'INTERNAL':
    case 'UNAVAILABLE':
    case 'UNKNOWN':
      return 'again';
    case 'RESOURCE_EXHAUSTED':
      return 'later';
    case 'UNAUTHENTICATED':
      return 'anew';
    case 'NOT_FOUND':
      return 'unknown-yet';
    default:
      return 'refused';
  }
}

/** The REST interface's reason for a code, so that both have the same hints. */
const reasons: Partial<Record<CodeName, string>> = {
  UNAUTHENTICATED: 'unauthorized',
  PERMISSION_DENIED: 'accessDenied',
  NOT_FOUND: 'notFound',
  RESOURCE_EXHAUSTED: 'rateLimitExceeded',
  INVALID_ARGUMENT: 'invalid',
  FAILED_PRECONDITION: 'invalid',
  UNIMPLEMENTED: 'invalid',
  CANCELLED: 'backendError',
  DEADLINE_EXCEEDED: 'backendError',
  ABORTED: 'backendError',
  INTERNAL: 'backendError',
  UNKNOWN: 'backendError',
  DATA_LOSS: 'backendError',
};

/** The service's own codes that mean more than gRPC's, as ours. */
const storageRules: Readonly<
  Record<string, { readonly kind: ErrorKind; readonly what: string; readonly hint: string }>
> = {
  STREAM_FINALIZED: {
    kind: 'sink-fenced',
    what: 'another owner ended the stream',
    hint: 'another sink process took over: stop this one',
  },
  OFFSET_ALREADY_EXISTS: {
    kind: 'sink-corrupt',
    what: 'the stream ends inside the rows that were to be appended',
    hint: 'nothing else may append to a stream of the sink: report this',
  },
  OFFSET_OUT_OF_RANGE: {
    kind: 'sink-corrupt',
    what: 'the stream ends before the place of the rows',
    hint: 'nothing else may append to a stream of the sink: report this',
  },
  SCHEMA_MISMATCH_EXTRA_FIELDS: {
    kind: 'sink-refused',
    what: 'the table has not all of the columns, or they are not known to its streams yet',
    hint: 'start again after some minutes; if it stays, somebody removed a column of the lake',
  },
};

/** A failure in the words of the REST interface's errors. The service's texts that can quote values are left out. */
export function errorOfStatus(status: StorageStatus, place: LakePlace): PipelineError {
  const { code, storage, message } = status;
  const home = `${place.project}.${place.dataset}`;
  const rule = storageRules[storage ?? (code === 'OUT_OF_RANGE' ? 'OFFSET_OUT_OF_RANGE' : '')];
  if (rule !== undefined) {
    return new PipelineError(rule.kind, `BigQuery took no rows in ${home}: ${rule.what}`, {
      hint: rule.hint,
      context: { ...place, bigquery: storage ?? code },
    });
  }
  // "No connection established", "ECONNREFUSED": gRPC's own words, not the service's.
  const isAway = code === 'UNAVAILABLE' && /connect|ECONN|ENOTFOUND|EAI_AGAIN/i.test(message);
  const reason = isAway ? 'unreachable' : (reasons[code] ?? 'backendError');
  return errorOfProto({ reason, message }, place);
}

/** The row that a request was refused for. Its text may quote the value, so only the column is told. */
export function errorOfRow(
  { index, message }: RowRefusal,
  place: LakePlace,
  context: Readonly<Record<string, unknown>>,
): PipelineError {
  const column = /\bfield:? '?([\p{L}_][\p{L}\p{N}_]*)/iu.exec(message)?.[1];
  const where = column === undefined ? '' : `, column ${column}`;
  return new PipelineError(
    'sink-refused',
    `BigQuery refused row ${index} of an append in ${place.project}.${place.dataset}${where}`,
    {
      hint: 'report this message, with the type of the column that it is about',
      context: { ...place, ...context, bigquery: 'rowErrors', row: index },
    },
  );
}

/** The refused row's place in `AppendRequest.rows`; undefined for an error of another cause. */
export function refusedRowOf(error: unknown): number | undefined {
  if (!(error instanceof PipelineError)) return undefined;
  const row = error.context['row'];
  return typeof row === 'number' ? row : undefined;
}
