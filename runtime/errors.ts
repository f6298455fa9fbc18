/** How the process that meets an error behaves: try again after a pause, or stop and tell a person. */
export interface ErrorPolicy {
  readonly retry: 'backoff' | 'never';
  /** Process exit code. 2 = usage, 3 = source, 4 = log, 5 = sink, 6 = models, 7 = differences found. */
  readonly exit: number;
  /** What to do when the error itself brings no better hint. */
  readonly hint: string;
}

/**
 * The closed list of what can go wrong, each with its policy. A new kind does not compile until its
 * policy is written. Unknown errors are never retried.
 */
export const errorPolicies = {
  'config-invalid': { retry: 'never', exit: 2, hint: 'correct tributary.yaml and start again' },
  usage: { retry: 'never', exit: 2, hint: 'see tributary --help' },
  'source-unreachable': {
    retry: 'backoff',
    exit: 3,
    hint: 'check that PostgreSQL runs and listens there',
  },
  'source-denied': { retry: 'never', exit: 3, hint: 'check user, password and pg_hba.conf' },
  'source-unfit': { retry: 'never', exit: 3, hint: 'run `tributary check` for what is missing' },
  'source-gap': {
    retry: 'never',
    exit: 3,
    hint: 'changes may be missing: read the message, then re-snapshot',
  },
  'slot-in-use': { retry: 'backoff', exit: 3, hint: 'stop the other reader of this slot' },
  'stream-broken': { retry: 'backoff', exit: 3, hint: 'the connection is opened again by itself' },
  'protocol-violation': {
    retry: 'never',
    exit: 3,
    hint: 'report this message with the PostgreSQL version',
  },
  'value-invalid': { retry: 'never', exit: 3, hint: 'report the table, column and type' },
  'log-unwritable': {
    retry: 'backoff',
    exit: 4,
    hint: 'free space or mend permissions; writing resumes by itself',
  },
  'log-corrupt': {
    retry: 'never',
    exit: 4,
    hint: 'restore the log file, or move it away and re-snapshot',
  },
  'log-conflict': { retry: 'never', exit: 4, hint: 'only one capture may write to a log' },
  'log-unreachable': {
    retry: 'backoff',
    exit: 4,
    hint: 'check that the brokers run and that this machine reaches them; work resumes by itself',
  },
  'log-denied': {
    retry: 'never',
    exit: 4,
    hint: 'check log.tls, log.sasl and the access control lists of the brokers',
  },
  'log-unsupported': {
    retry: 'never',
    exit: 4,
    hint: 'see the version of the brokers, and log.client',
  },
  'record-too-large': { retry: 'never', exit: 4, hint: 'raise log.topics.message_size' },
  'schema-rejected': { retry: 'never', exit: 4, hint: 'see the registry policy of the table' },
  'schema-incompatible': {
    retry: 'never',
    exit: 4,
    hint: 'set registry.tables or registry.incompatible to evolve, or relax the compatibility of the subject',
  },
  'schema-unknown': {
    retry: 'never',
    exit: 4,
    hint: 'the registry must be the one that capture registers with, with all that it held: restore it',
  },
  'registry-unreachable': {
    retry: 'backoff',
    exit: 4,
    hint: 'check that the registry runs at registry.url; new schemas wait for it, known ones go on',
  },
  'registry-refused': {
    retry: 'never',
    exit: 4,
    hint: 'check registry.url, registry.auth and registry.tls',
  },
  'sink-locked': {
    retry: 'backoff',
    exit: 5,
    hint: 'close the other program that holds the lake file',
  },
  'sink-fenced': { retry: 'never', exit: 5, hint: 'another sink process took over: stop this one' },
  'sink-failed': { retry: 'backoff', exit: 5, hint: 'see the cause' },
  'sink-denied': {
    retry: 'never',
    exit: 5,
    hint: 'check the credentials and permissions with `tributary check`',
  },
  'sink-refused': { retry: 'never', exit: 5, hint: 'see the message' },
  'sink-corrupt': {
    retry: 'never',
    exit: 5,
    hint: 'restore the lake file, or delete it to load it anew from the log',
  },
  'models-failed': { retry: 'never', exit: 6, hint: 'see the output of dbt above' },
  'role-crashed': {
    retry: 'backoff',
    exit: 1,
    hint: 'see the lines of that role above; it is started again by itself',
  },
  'role-broken': {
    retry: 'never',
    exit: 1,
    hint: 'this is a defect of the program: please report it with the lines above',
  },
  'setup-failed': { retry: 'never', exit: 6, hint: 'see the cause' },
  'differences-found': {
    retry: 'never',
    exit: 7,
    hint: 'run `tributary verify --rows` to see the keys; changes that a lake did not take are in its _tributary_dead_letters',
  },
} as const satisfies Record<string, ErrorPolicy>;

export type ErrorKind = keyof typeof errorPolicies;

export interface PipelineErrorOptions {
  /** What to type or change; the kind's own hint if left out. */
  readonly hint?: string;
  /** Names and numbers for the log line. Never row values, never secrets. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** The one error class: what failed, on what, in one sentence with names and numbers, and what to do. */
export class PipelineError extends Error {
  override readonly name = 'PipelineError';
  readonly kind: ErrorKind;
  readonly hint: string;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(kind: ErrorKind, message: string, options: PipelineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.hint = options.hint ?? errorPolicies[kind].hint;
    this.context = options.context ?? {};
  }

  get policy(): ErrorPolicy {
    return errorPolicies[this.kind];
  }
}
