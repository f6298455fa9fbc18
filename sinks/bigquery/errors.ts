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
  const rule = isConflict(proto) ? conflict : isElsewhere(proto) ? elsewhere : rules[reason];
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

/**
 * A dataset of another location is "not found in location ..." or "cannot read and write in different
 * locations: source: ...".
 */
const isElsewhere = ({ message = '' }: ErrorProto): boolean =>
  /was not found in location|different locations/i.test(message);

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
  // Files are read for the credentials alone; what a broken one holds is not quoted.
  if (code === 'ENOENT' || code === 'EACCES') {
    return { reason: 'unauthorized', message: error.message };
  }
  if (typeof code === 'string' && code.startsWith('ERR_OSSL')) {
    return { reason: 'unauthorized', message: 'the private key of the credentials cannot be used' };
  }
  if (error instanceof SyntaxError) {
    return { reason: 'unauthorized', message: 'the credentials file is not JSON' };
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

const settings = (...names: readonly string[]): string =>
  names.map((name) => `sinks.<name>.${name}`).join(', ');
const waitsByItself = 'loading goes on by itself';
const credentials = `check ${settings('credentials_file')}, or run \`gcloud auth application-default login\``;
const atQuota = `${waitsByItself}; raise ${settings('spacing.least')} or ${settings('batch.rows')}, so that there are fewer batches`;

const elsewhere: Rule = {
  kind: 'sink-refused',
  what: 'has not found the dataset in that location',
  hint: `set ${settings('location')} to the location of the dataset; else check ${settings('project', 'dataset')}`,
  isQuoted: true,
};

const rules: Readonly<Record<string, Rule>> = {
  accessDenied: denied(
    'denied access',
    `grant the permissions that \`tributary check\` names on ${settings('project', 'dataset')}, or check ${settings('credentials_file')}`,
  ),
  unauthorized: denied('does not accept the credentials', credentials),
  authError: denied('does not accept the credentials', credentials),
  billingNotEnabled: denied(
    'has no billing',
    `enable billing for the project of ${settings('project')}: without it BigQuery runs no statement that changes rows`,
  ),
  billingTierLimitExceeded: denied(
    'has a billing limit',
    `raise the limit of the project, or lower ${settings('budget')}, so that tables are merged less often`,
  ),
  notFound: {
    kind: 'sink-refused',
    what: 'has not found something',
    hint: `check ${settings('project', 'dataset', 'location')}: a dataset is found only in its own location`,
    isQuoted: true,
  },
  invalid: {
    kind: 'sink-refused',
    what: 'refused what it was given',
    hint: `check ${settings('location', 'kms_key', 'labels')}; if they are right, report this message with the type of the column that it is about`,
  },
  invalidQuery: {
    kind: 'sink-refused',
    what: 'refused a statement',
    hint: `somebody may have changed a table of ${settings('dataset')} by hand: load into a new dataset; else report this`,
  },
  quotaExceeded: later('is at a quota', atQuota),
  rateLimitExceeded: later('is asked too often', atQuota),
  jobRateLimitExceeded: later('is asked too often', atQuota),
  backendError: later('is not well', waitsByItself),
  internalError: later('is not well', waitsByItself),
  jobBackendError: later('is not well', waitsByItself),
  jobInternalError: later('is not well', waitsByItself),
  unreachable: later('cannot be reached', `check the network and ${settings('endpoint')}`),
  resourcesExceeded: later(
    'ran out of resources',
    `lower ${settings('batch.rows')} or ${settings('batch.size')}`,
  ),
};
