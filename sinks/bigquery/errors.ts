import { PipelineError } from '../../runtime/errors.ts';

/** What BigQuery says of a failure: `errors[]` of an answer, `errorResult` of a job. */
export interface ErrorProto {
  readonly reason?: string;
  readonly message?: string;
  readonly location?: string;
}

/** Where it happened, for messages. */
export interface LakePlace {
  readonly project: string;
  readonly dataset: string;
}

/** BigQuery's reason of a translated error; undefined for another one. */
export function reasonOf(error: unknown): string | undefined {
  if (!(error instanceof PipelineError)) return undefined;
  const reason = error.context['bigquery'];
  return typeof reason === 'string' ? reason : undefined;
}

/**
 * BigQuery's errors as ours: the one place where its reasons are read. Messages that can quote values
 * (a row that a load refused, a cast that failed) are left out, of the cause too.
 * https://cloud.google.com/bigquery/docs/error-messages
 */
export function translateBigqueryError(error: unknown, place: LakePlace): unknown {
  if (error instanceof PipelineError || !(error instanceof Error)) return error;
  const found = foreign(error);
  if (found === undefined) return error;
  return errorOfProto(found, place);
}

/** A job's `errorResult`, which the client does not throw by itself. */
export function errorOfProto(proto: ErrorProto, place: LakePlace): PipelineError {
  const { reason = 'unknown', message = '' } = proto;
  const home = `${place.project}.${place.dataset}`;
  const rule = isConflict(proto) ? conflict : rules[reason];
  const said = rule?.isQuoted === true ? `: ${firstLine(message)}` : '';
  return new PipelineError(
    rule?.kind ?? 'sink-failed',
    `BigQuery ${rule?.what ?? 'refused a job'} in ${home} (${reason})${said}`,
    {
      context: { ...place, bigquery: reason },
      ...(rule?.hint === undefined ? {} : { hint: rule.hint }),
    },
  );
}

/**
 * BigQuery calls it `invalidQuery`, as if the statement were wrong: another owner's transaction, or
 * somebody's own statement, changed a table of ours at the same time. Only the text tells.
 * https://cloud.google.com/bigquery/docs/troubleshoot-queries#could_not_serialize_access_to_table_due_to_concurrent_update
 */
const isConflict = ({ reason, message = '' }: ErrorProto): boolean =>
  reason === 'invalidQuery' && /due to concurrent update/i.test(message);

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

const reasonOfStatus: Readonly<Record<string, string>> = {
  '401': 'unauthorized',
  '403': 'accessDenied',
  '404': 'notFound',
  '409': 'duplicate',
  '429': 'rateLimitExceeded',
  '500': 'backendError',
  '502': 'backendError',
  '503': 'backendError',
  '504': 'backendError',
};

/** An error of the client library, of its transport, or of the token's; undefined: a defect of ours. */
function foreign(error: Error): ErrorProto | undefined {
  const { code, errors } = error as { code?: unknown; errors?: unknown };
  const [first] = Array.isArray(errors) ? (errors as readonly ErrorProto[]) : [];
  if (first?.reason !== undefined) return first;
  const byStatus = reasonOfStatus[String(code)];
  if (byStatus !== undefined) return { reason: byStatus, message: error.message };
  if (/invalid_grant|default credentials|private key|oauth2/i.test(error.message)) {
    return { reason: 'unauthorized', message: error.message };
  }
  // "ECONNREFUSED", "ENOTFOUND", "ERR_STREAM_PREMATURE_CLOSE": of Node's, never of ours.
  return typeof code === 'string' && /^E[A-Z_]+$/.test(code)
    ? { reason: 'unreachable', message: `${code}` }
    : undefined;
}

interface Rule {
  readonly kind?: 'sink-denied' | 'sink-failed' | 'sink-refused';
  readonly what: string;
  readonly hint?: string;
  /** Its text names tables, columns and quotas, never values. */
  readonly isQuoted?: boolean;
}

const denied = (what: string, hint: string): Rule => ({
  kind: 'sink-denied',
  what,
  hint,
  isQuoted: true,
});
const later = (what: string, hint: string): Rule => ({ what, hint, isQuoted: true });

const conflict = later(
  'stopped a statement for another one',
  'loading goes on by itself; nothing else should write to the tables of the lake',
);

const rules: Readonly<Record<string, Rule>> = {
  accessDenied: denied('denied access', 'grant the permissions that `tributary check` names'),
  unauthorized: denied(
    'does not accept the credentials',
    'check credentials_file, or `gcloud auth application-default login`',
  ),
  authError: denied('does not accept the credentials', 'check credentials_file'),
  billingNotEnabled: denied('has no billing', 'enable billing for the project'),
  billingTierLimitExceeded: denied('has a billing limit', 'raise the limit of the project'),
  notFound: {
    kind: 'sink-refused',
    what: 'has not found something',
    hint: 'check project, dataset and location: a dataset is only found in its own location',
    isQuoted: true,
  },
  invalid: {
    kind: 'sink-refused',
    what: 'refused what it was given',
    hint: 'report this message, with the type of the column that it is about',
  },
  invalidQuery: {
    kind: 'sink-refused',
    what: 'refused a statement',
    hint: 'somebody may have changed a table of the lake; else report this',
  },
  quotaExceeded: later('is at a quota', 'loading goes on by itself; raise batch.spacing_min'),
  rateLimitExceeded: later('is asked too often', 'loading goes on by itself'),
  jobRateLimitExceeded: later('is asked too often', 'loading goes on by itself'),
  backendError: later('is not well', 'loading goes on by itself'),
  internalError: later('is not well', 'loading goes on by itself'),
  jobBackendError: later('is not well', 'loading goes on by itself'),
  jobInternalError: later('is not well', 'loading goes on by itself'),
  unreachable: later('cannot be reached', 'check the network and `endpoint`'),
  resourcesExceeded: later('ran out of resources', 'lower batch.rows or batch.size'),
};
