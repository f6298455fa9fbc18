import { type ErrorKind, PipelineError } from '../../runtime/errors.ts';

export interface FailurePlace {
  /** "Kafka at a:9092, b:9092". */
  readonly brokers: readonly string[];
  readonly topic?: string;
}

/**
 * What a client library threw as ours: the one place where their errors are read. Broker errors are known
 * by their protocol name (https://kafka.apache.org/protocol#protocol_error_codes), the rest by the codes
 * of Node's sockets and TLS.
 */
export function translateKafkaError(error: unknown, place: FailurePlace): unknown {
  if (error instanceof PipelineError || !(error instanceof Error)) return error;
  // A defect of ours must not look like trouble with the brokers.
  if (![...causes(error)].some(isForeign)) return error;
  const rule = firstRule(protocolNames(error), place) ?? socketRule(error, place);
  const { kind, message, hint } = rule;
  return new PipelineError(kind, message, {
    ...(hint === undefined ? {} : { hint }),
    context: {
      brokers: place.brokers,
      ...(place.topic === undefined ? {} : { topic: place.topic }),
    },
    cause: error,
  });
}

interface Translation {
  readonly kind: ErrorKind;
  readonly message: string;
  readonly hint?: string;
}

type Rule = (place: FailurePlace & { readonly topic: string }) => Translation;

const unwritable = (message: string, hint: string): Translation => ({
  kind: 'log-unwritable',
  message,
  hint,
});

const credentialsRefused = ({ brokers }: FailurePlace): Translation => ({
  kind: 'log-denied',
  message: `the brokers ${brokers.join(', ')} refused user or password`,
  hint: 'correct log.sasl',
});

const rules: Readonly<Record<string, Rule>> = {
  TOPIC_AUTHORIZATION_FAILED: ({ topic }) => ({
    kind: 'log-denied',
    message: `the brokers do not allow this user to use topic ${topic}`,
    hint: `allow it: WRITE and DESCRIBE for capture, READ and DESCRIBE for sinks, on topic ${topic}`,
  }),
  CLUSTER_AUTHORIZATION_FAILED: ({ brokers }) => ({
    kind: 'log-denied',
    message: `the brokers ${brokers.join(', ')} do not allow this user to create topics`,
    hint: 'allow CREATE on the cluster or on topics of the prefix, or create the topics beforehand',
  }),
  SASL_AUTHENTICATION_FAILED: credentialsRefused,
  UNSUPPORTED_SASL_MECHANISM: ({ brokers }) => ({
    kind: 'log-denied',
    message: `the brokers ${brokers.join(', ')} do not take this SASL mechanism`,
    hint: 'choose one in log.sasl.mechanism that the listener has',
  }),
  MESSAGE_TOO_LARGE: ({ topic }) => ({
    kind: 'log-record-too-large',
    message: `topic ${topic} does not take a record batch of this size`,
    hint: `raise max.message.bytes of topic ${topic}, or lower log.topics.message_size to what it has`,
  }),
  RECORD_LIST_TOO_LARGE: ({ topic }) => ({
    kind: 'log-record-too-large',
    message: `topic ${topic} does not take a record batch of this size`,
    hint: `raise max.message.bytes and segment.bytes of topic ${topic}`,
  }),
  UNKNOWN_TOPIC_OR_PARTITION: ({ topic }) =>
    unwritable(`topic ${topic} does not exist (any more)`, 'it is created again at the next try'),
  NOT_ENOUGH_REPLICAS: ({ topic }) =>
    unwritable(
      `topic ${topic} has fewer replicas in sync than min.insync.replicas asks for`,
      'bring the missing brokers back; writing resumes by itself',
    ),
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: ({ topic }) =>
    unwritable(
      `topic ${topic} lost replicas while a batch was written`,
      'bring the missing brokers back; writing resumes by itself',
    ),
  NOT_LEADER_FOR_PARTITION: ({ topic }) =>
    unwritable(`the leader of topic ${topic} has changed`, 'the log is opened again by itself'),
  LEADER_NOT_AVAILABLE: ({ topic }) =>
    unwritable(`topic ${topic} has no leader`, 'bring the missing brokers back'),
  INVALID_RECORD: ({ topic }) => ({
    kind: 'log-conflict',
    message: `topic ${topic} is compacted and refuses records without a key`,
    hint: `set cleanup.policy=delete on topic ${topic}`,
  }),
  INVALID_REPLICATION_FACTOR: ({ topic }) => ({
    kind: 'log-conflict',
    message: `topic ${topic} cannot have that many replicas: the cluster has fewer brokers`,
    hint: 'lower log.topics.replication',
  }),
};
/** The libraries spell some names differently. */
const synonyms: Readonly<Record<string, string>> = {
  NOT_LEADER_OR_FOLLOWER: 'NOT_LEADER_FOR_PARTITION',
  FENCED_LEADER_EPOCH: 'NOT_LEADER_FOR_PARTITION',
  KAFKA_STORAGE_ERROR: 'NOT_LEADER_FOR_PARTITION',
  UNKNOWN_TOPIC_ID: 'UNKNOWN_TOPIC_OR_PARTITION',
};

function firstRule(names: readonly string[], place: FailurePlace): Translation | undefined {
  const rule = names.map((name) => rules[synonyms[name] ?? name]).find((one) => one !== undefined);
  return rule?.({ topic: '?', ...place });
}

function socketRule(error: Error, { brokers, topic }: FailurePlace): Translation {
  const texts = [...causes(error)].map(
    (one) => `${(one as NodeJS.ErrnoException).code ?? ''} ${one.message}`,
  );
  const says = (pattern: RegExp) => texts.some((text) => pattern.test(text));
  const list = brokers.join(', ');
  if (says(/SASL.*authentication failed|Authentication failed|invalid credentials/i)) {
    return credentialsRefused({ brokers });
  }
  const tls = tlsProblems.find(([pattern]) => says(pattern));
  if (tls !== undefined) {
    return { kind: 'log-denied', message: `TLS with the brokers ${list}: ${tls[1]}`, hint: tls[2] };
  }
  const where = topic === undefined ? '' : ` (topic ${topic})`;
  const reason = texts.map((text) => text.trim()).find((text) => text !== '') ?? 'no answer';
  return {
    kind: 'log-unreachable',
    message: `the brokers ${list} do not answer${where}: ${reason.slice(0, reasonCharactersMax)}`,
  };
}

const reasonCharactersMax = 300;

const tlsProblems: readonly (readonly [RegExp, string, string])[] = [
  [
    /CERT_HAS_EXPIRED|certificate has expired/i,
    'their certificate has expired',
    'renew the certificate of the brokers',
  ],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID|Hostname\/IP does not match/i,
    'their certificate is for another name',
    'correct log.brokers, or set log.tls.server_name to a name of the certificate',
  ],
  [
    /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED|unable to get (local )?issuer|self.signed certificate/i,
    'their certificate is not signed by an authority that is trusted here',
    'name the authority in log.tls.ca_file',
  ],
  [
    /certificate required|bad certificate|alert number (42|116)|unknown ca|alert number 48/i,
    'they want a certificate of ours, and do not take this one',
    'set log.tls.cert_file and log.tls.key_file to a certificate that the brokers trust',
  ],
  [
    /wrong version number|packet length too long|EPROTO/i,
    'this port does not speak TLS',
    'use the port of a TLS listener, or remove log.tls',
  ],
];

/** One of the libraries', or of a socket. */
function isForeign(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return error.name.startsWith('KafkaJS') || (code !== undefined && !code.startsWith('ERR_OUT_OF'));
}

/** The error, what caused it, and the parts of an aggregate. */
function* causes(error: unknown, depth = 0): Generator<Error> {
  if (!(error instanceof Error) || depth > causesDepthMax) return;
  yield error;
  const { cause, errors, originalError } = error as Error & {
    readonly errors?: readonly unknown[];
    readonly originalError?: unknown;
  };
  for (const inner of [cause, originalError, ...(Array.isArray(errors) ? errors : [])]) {
    yield* causes(inner, depth + 1);
  }
}
const causesDepthMax = 6;

/** Names of Kafka's protocol errors in it: kafkajs has them in `type`, platformatic in `apiId`. */
export function protocolNames(error: unknown): readonly string[] {
  return [...causes(error)].flatMap((one) => {
    const { type, apiId } = one as Error & { readonly type?: unknown; readonly apiId?: unknown };
    return [type, apiId].filter((name) => typeof name === 'string');
  });
}
