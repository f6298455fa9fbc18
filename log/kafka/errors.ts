import { PipelineError, type ErrorKind } from '../../runtime/errors.ts';
import type { BrokerAddress } from './client.ts';
import { codeNames } from './kafkajs-parts.ts';

/** Kafka's error codes that the driver acts on. https://kafka.apache.org/protocol#protocol_error_codes */
export const errorCodes = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopic: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  replicaNotAvailable: 9,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  topicDenied: 29,
  clusterDenied: 31,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  topicExists: 36,
  invalidReplication: 38,
  policyViolation: 44,
  storageError: 56,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  offsetNotAvailable: 78,
  unknownTopicId: 100,
} as const;

/** What reading may try again, after asking who leads: nothing was decided. */
const movedCodes: ReadonlySet<number> = new Set([
  errorCodes.leaderNotAvailable,
  errorCodes.notLeader,
  errorCodes.replicaNotAvailable,
  errorCodes.storageError,
  errorCodes.fencedLeaderEpoch,
  errorCodes.unknownLeaderEpoch,
  errorCodes.offsetNotAvailable,
]);

export const isMoved = (code: number): boolean => movedCodes.has(code);

/** A broker that has just started: nothing was decided either. */
const startingCodes: ReadonlySet<number> = new Set([
  errorCodes.coordinatorLoading,
  errorCodes.coordinatorNotAvailable,
  errorCodes.notCoordinator,
]);

export const isStarting = (code: number): boolean => startingCodes.has(code);

interface Meaning {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly hint?: string;
}

const meanings: Readonly<Record<number, Meaning>> = {
  [errorCodes.unknownTopic]: {
    kind: 'log-corrupt',
    reason: 'it does not exist (any more)',
    hint: 'somebody deleted the topic: its records are lost; give log.prefix another value and snapshot again',
  },
  [errorCodes.leaderNotAvailable]: {
    kind: 'log-unreachable',
    reason: 'no broker leads it at the moment',
  },
  [errorCodes.notLeader]: { kind: 'log-unreachable', reason: 'its leader has just changed' },
  [errorCodes.requestTimedOut]: {
    kind: 'log-unreachable',
    reason: 'its replicas did not take the records in time',
  },
  [errorCodes.messageTooLarge]: {
    kind: 'record-too-large',
    reason: 'the broker takes no record batch of this size',
  },
  [errorCodes.recordListTooLarge]: {
    kind: 'record-too-large',
    reason: 'the batch is larger than a segment of the topic',
    hint: 'raise segment.bytes of the topic',
  },
  [errorCodes.topicDenied]: {
    kind: 'log-denied',
    reason: 'our user may not do that',
    hint: 'allow Describe, Read, Write, Create and DescribeConfigs on topics that begin with log.prefix (kafka-acls)',
  },
  [errorCodes.clusterDenied]: {
    kind: 'log-denied',
    reason: 'our user may not do that on the cluster',
    hint: 'allow IdempotentWrite and Create on the cluster, or create the topics beforehand (kafka-acls)',
  },
  [errorCodes.notEnoughReplicas]: {
    kind: 'log-unreachable',
    reason: 'fewer replicas are in sync than min.insync.replicas asks for',
    hint: 'bring the missing brokers back; work resumes by itself',
  },
  [errorCodes.notEnoughReplicasAfterAppend]: {
    kind: 'log-unreachable',
    reason: 'replicas fell out of sync while the records were written',
    hint: 'bring the missing brokers back; work resumes by itself',
  },
  [errorCodes.invalidReplication]: {
    kind: 'log-unsupported',
    reason: 'the cluster has fewer brokers than the topic should have replicas',
    hint: 'lower log.topics.replication, or add brokers',
  },
  [errorCodes.policyViolation]: {
    kind: 'log-denied',
    reason: 'a policy of the cluster forbids it',
  },
};

const unknownMeaning = (code: number): Meaning => ({
  kind: 'log-unreachable',
  reason: `the broker answered ${codeName(code)}`,
});

/** Kafka's name of a code. */
export function codeName(code: number): string {
  return codeNames.get(code) ?? `error ${code}`;
}

/** What a broker answered → error. `doing` is like "writing to partition 1 of topic a". */
export function answeredError(code: number, doing: string, detail = ''): PipelineError {
  const { kind, reason, hint } = meanings[code] ?? unknownMeaning(code);
  const said = detail === '' ? '' : ` (${detail})`;
  return new PipelineError(kind, `${doing} failed: ${reason}${said}`, {
    ...(hint === undefined ? {} : { hint }),
    context: { code: codeName(code) },
  });
}

/** A single record that no batch of the topic can hold. */
export function tooLargeError(topic: string, bytes: number, bytesMax: number): PipelineError {
  return new PipelineError(
    'record-too-large',
    `a record of ${bytes} bytes for topic ${topic} is above its limit of ${bytesMax} bytes`,
    {
      hint: 'raise log.topics.message_size, and max.message.bytes of a topic that exists already',
      context: { topic, bytes, bytesMax },
    },
  );
}

const certificateFailures: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  SELF_SIGNED_CERT_IN_CHAIN: ['its certificate is of an authority that we do not trust', 'ca'],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['its certificate is of an authority that we do not trust', 'ca'],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [
    'its certificate is of an authority that we do not trust',
    'ca',
  ],
  UNABLE_TO_GET_ISSUER_CERT: ['its certificate is of an authority that we do not trust', 'ca'],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: [
    'its certificate is of an authority that we do not trust',
    'ca',
  ],
  CERT_SIGNATURE_FAILURE: ['its certificate is of an authority that we do not trust', 'ca'],
  CERT_HAS_EXPIRED: ['its certificate has expired', 'expired'],
  CERT_NOT_YET_VALID: ['its certificate is not valid yet', 'expired'],
  ERR_TLS_CERT_ALTNAME_INVALID: ['its certificate is for another host name', 'name'],
};

const certificateHints: Readonly<Record<string, string>> = {
  ca: 'name the authority of the brokers in log.tls.ca_file',
  expired: 'give the broker a new certificate, and see the clock of this machine',
  name: 'use a host name of the certificate in log.brokers and advertised.listeners, or set log.tls.server_name',
};

const networkReasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host name is unknown',
  EAI_AGAIN: 'the host name could not be looked up',
  EHOSTUNREACH: 'no way leads to the host',
  ENETUNREACH: 'no way leads to the network',
  ECONNRESET: 'it hung up',
  EPIPE: 'it hung up',
  ETIMEDOUT: 'it does not answer',
};

/** Why a connection or request to a broker failed, as an error; errors of our own stay as they are. */
export function brokenError(
  error: unknown,
  address: BrokerAddress,
  security: { readonly hasTls: boolean; readonly hasSasl: boolean },
): PipelineError {
  const own = wrappedErrors(error).find((one) => one instanceof PipelineError);
  if (own !== undefined) return own;
  const at = `broker ${addressText(address)}`;
  const chain = causesOf(error);
  const denied = deniedReason(chain, security);
  if (denied !== null) {
    return new PipelineError('log-denied', `${at}: ${denied.reason}`, {
      hint: denied.hint,
      context: { broker: addressText(address) },
      cause: scrubbed(error),
    });
  }
  return new PipelineError('log-unreachable', `${at}: ${networkReason(chain, security)}`, {
    context: { broker: addressText(address) },
    cause: scrubbed(error),
  });
}

interface Denial {
  readonly reason: string;
  readonly hint: string;
}

function deniedReason(
  chain: readonly Failure[],
  { hasSasl }: { readonly hasSasl: boolean },
): Denial | null {
  for (const { code, name, apiId, message } of chain) {
    const certificate = certificateFailures[code];
    if (certificate !== undefined) {
      return { reason: certificate[0], hint: certificateHints[certificate[1]] ?? '' };
    }
    // What the broker thinks of our certificate arrives as an alert of TLS.
    if (code.startsWith('ERR_SSL_') && /ALERT/.test(`${code} ${message}`.toUpperCase())) {
      return {
        reason: `it refused our certificate (${alertName(code, message)})`,
        hint: 'see log.tls.cert_file and key_file, and the authorities that the broker trusts',
      };
    }
    if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
      return {
        reason: 'it does not speak TLS on this port',
        hint: 'use the port of a TLS listener in log.brokers, or remove log.tls',
      };
    }
    const isAuthentication =
      name === 'KafkaJSSASLAuthenticationError' ||
      apiId === 'SASL_AUTHENTICATION_FAILED' ||
      code === 'PLT_KFK_AUTHENTICATION';
    if (hasSasl && isAuthentication) {
      const isMechanism =
        /mechanism is not supported|suitable sasl mechanism/i.test(message) ||
        apiId === 'UNSUPPORTED_SASL_MECHANISM';
      return isMechanism
        ? {
            reason: 'it does not offer this way of authentication',
            hint: 'choose a log.sasl.mechanism that the listener has enabled',
          }
        : {
            reason: 'it refused the user name or the password',
            hint: 'check log.sasl.username and log.sasl.password; with oauthbearer the token',
          };
    }
  }
  return null;
}

function alertName(code: string, message: string): string {
  const text = /alert ([a-z ]+)/i.exec(message)?.[1] ?? code.replace(/^ERR_SSL_|ALERT_/g, '');
  return text.toLowerCase().replaceAll('_', ' ').trim();
}

function networkReason(
  chain: readonly Failure[],
  { hasTls, hasSasl }: { readonly hasTls: boolean; readonly hasSasl: boolean },
): string {
  for (const { code, name, message } of chain) {
    if (networkReasons[code] !== undefined) return networkReasons[code];
    if (/time(d )?out/i.test(`${name} ${message}`)) return 'it does not answer';
  }
  const isClosed = chain.some(({ message }) =>
    /closed|hang up|hung up|not connected/i.test(message),
  );
  if (!isClosed) return 'the connection failed';
  const guess = hasTls || hasSasl ? '' : ' (it may want TLS or a password: log.tls, log.sasl)';
  return `it closed the connection${guess}`;
}

interface Failure {
  readonly code: string;
  readonly name: string;
  readonly apiId: string;
  readonly message: string;
}

const causesMax = 40;

/** The error and everything that it was made of: both libraries wrap what happened, in different ways. */
function wrappedErrors(error: unknown): object[] {
  const found: object[] = [];
  const queue: unknown[] = [error];
  while (queue.length > 0 && found.length < causesMax) {
    const one = queue.shift();
    if (typeof one !== 'object' || one === null) continue;
    found.push(one);
    const fields = one as Readonly<Record<string, unknown>>;
    queue.push(fields['cause'], fields['originalError']);
    if (Array.isArray(fields['errors'])) queue.push(...(fields['errors'] as unknown[]));
  }
  return found;
}

function causesOf(error: unknown): Failure[] {
  return wrappedErrors(error).map((one) => {
    const fields = one as Readonly<Record<string, unknown>>;
    return {
      code: textOf(fields['code']),
      name: textOf(fields['name']),
      apiId: textOf(fields['apiId']),
      message: textOf(fields['message']),
    };
  });
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Only names and codes: a library's message may repeat what was sent, and that may be a password. */
function scrubbed(error: unknown): Error {
  const words = causesOf(error).map(({ name, code, apiId }) => apiId || code || name);
  return new Error([...new Set(words.filter((word) => word !== ''))].join(' < ') || 'unknown');
}

/** None of the brokers to begin with could be reached: each is named with its own reason. */
export function noBrokerError(failures: readonly PipelineError[]): PipelineError {
  const reasons = failures.map(({ message }) => message);
  return new PipelineError('log-unreachable', `no broker of Kafka answers: ${reasons.join('; ')}`, {
    cause: failures[0],
  });
}

/** The cluster answers, but sends us to addresses that do not. */
export function wrongListenerError(
  asked: BrokerAddress,
  failures: readonly PipelineError[],
): PipelineError {
  const reasons = failures.map(({ message }) => message);
  return new PipelineError(
    'log-unreachable',
    `broker ${addressText(asked)} answers, but sends us on to addresses that do not: ${reasons.join('; ')}`,
    {
      hint: 'set advertised.listeners of the brokers to addresses that this machine reaches',
      cause: failures[0],
    },
  );
}

export function addressText({ host, port }: BrokerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
