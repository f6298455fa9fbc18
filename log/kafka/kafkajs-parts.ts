import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { ApiName, VersionRange } from './api-versions.ts';

// The inner parts of kafkajs 2.2.4 that have no types: its connections and its protocol. What is above
// them (producer, consumer, retries) is not used. The version is pinned in package.json.

export interface Pool {
  readonly pool: readonly Connection[];
  send(protocol: Protocol & { readonly logResponseError: boolean }): Promise<unknown>;
  getConnectionByRequest(protocol: Protocol): Promise<Connection>;
}

interface Connection {
  readonly clientId: string;
  readonly socket?: Socket;
  readonly requestQueue: {
    maybeThrottle(ms: number | null): void;
    push(request: QueuedRequest): void;
  };
  isAuthenticated(): boolean;
  authenticate(): Promise<void>;
  /** Throws kafkajs' error. */
  failIfNotConnected(): void;
  nextCorrelationId(): number;
  rejectRequests(error: Error): void;
  disconnect(): Promise<unknown>;
}

interface QueuedRequest {
  readonly entry: RequestKind & {
    readonly correlationId: number;
    readonly resolve: (answer: { readonly payload: Buffer }) => void;
    readonly reject: (error: Error) => void;
  };
  readonly expectResponse: boolean;
  readonly requestTimeout: null;
  readonly sendRequest: () => void;
}

interface RequestKind {
  readonly apiKey: number;
  readonly apiName: string;
  readonly apiVersion: number;
}

interface Protocol {
  readonly request: RequestKind;
  readonly response: {
    readonly decode: (bytes: Buffer) => Promise<unknown>;
    readonly parse: (answer: unknown) => Promise<unknown>;
  };
}

interface BrokerParts {
  readonly versions: Readonly<Record<string, VersionRange>> | null;
  connect(): Promise<void>;
}

interface RequestParts {
  readonly versions: readonly string[];
  protocol(options: { readonly version: number }): (request: object) => Protocol;
}

interface QueueParts {
  readonly pending: readonly unknown[];
  readonly throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
}

export interface FetchedMessage {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly timestamp: string;
  readonly headers: Readonly<Record<string, (Buffer | null) | readonly (Buffer | null)[]>>;
  readonly isControlRecord: boolean;
}

export interface MetadataAnswer {
  readonly brokers: readonly {
    readonly nodeId: number;
    readonly host: string;
    readonly port: number;
  }[];
  readonly topicMetadata: readonly {
    readonly topic: string;
    readonly topicErrorCode: number;
    readonly isInternal: boolean;
    readonly partitionMetadata: readonly {
      readonly partitionId: number;
      readonly leader: number;
      readonly replicas: readonly number[];
    }[];
  }[];
}

export interface IdentityAnswer {
  readonly errorCode: number;
  readonly producerId: string;
  readonly producerEpoch: number;
}

export interface ProduceAnswer {
  readonly topics: readonly {
    readonly topicName: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly errorCode: number;
      readonly baseOffset: string;
    }[];
  }[];
}

export interface FetchAnswer {
  readonly responses: readonly {
    readonly partitions: readonly {
      readonly errorCode: number;
      readonly messages: readonly FetchedMessage[];
    }[];
  }[];
}

export interface OffsetsAnswer {
  readonly responses: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly errorCode: number;
      readonly offset: string;
    }[];
  }[];
}

export interface CreateTopicsAnswer {
  readonly topicErrors: readonly {
    readonly topic: string;
    readonly errorCode: number;
    readonly errorMessage: string | null;
  }[];
}

export interface SettingsAnswer {
  readonly resources: readonly {
    readonly errorCode: number;
    readonly resourceName: string;
    readonly configEntries: readonly {
      readonly configName: string;
      readonly configValue: string | null;
    }[];
  }[];
}

const load = createRequire(import.meta.url);

export const ConnectionPool = load('kafkajs/src/network/connectionPool') as new (
  options: object,
) => Pool;
export const Broker = load('kafkajs/src/broker') as new (options: object) => BrokerParts;
export const socketFactory = load('kafkajs/src/network/socketFactory') as () => unknown;
export const { requests } = load('kafkajs/src/protocol/requests') as {
  readonly requests: Readonly<Record<ApiName, RequestParts>>;
};
const { createErrorFromCode, errorCodes } = load('kafkajs/src/protocol/error') as {
  readonly createErrorFromCode: (code: number) => Error;
  readonly errorCodes: readonly { readonly code: number; readonly type: string }[];
};
const { createLogger } = load('kafkajs/src/loggers') as {
  readonly createLogger: (options: object) => unknown;
};
const RequestQueue = load('kafkajs/src/network/requestQueue') as {
  readonly prototype: { scheduleCheckPendingRequests: (this: QueueParts) => void };
};

/** Nothing that kafkajs says goes to our output: its errors reach us, and are told once, in our words. */
export const silentLogger = createLogger({ level: 0, logCreator: () => () => undefined });

/** Kafka's names of its error codes. */
export const codeNames: ReadonlyMap<number, string> = new Map(
  errorCodes.map(({ code, type }) => [code, type]),
);

/** Throws kafkajs' error of a code other than 0. */
export function failOn(code: number): void {
  if (code !== 0) throw createErrorFromCode(code);
}

/**
 * Sends a request whose body is encoded already, and gives kafkajs' answer. Its own way copies a request three
 * times, which for megabytes of records is most of the memory of a process. The body must not change before
 * the answer.
 */
export async function sendEncoded<T>(
  pool: Pool,
  protocol: Protocol,
  body: readonly Buffer[],
): Promise<T> {
  const connection = await pool.getConnectionByRequest(protocol);
  if (!connection.isAuthenticated()) await connection.authenticate();
  connection.failIfNotConnected();
  const { socket, requestQueue } = connection;
  const correlationId = connection.nextCorrelationId();
  const parts = [
    requestHead(protocol.request, { clientId: connection.clientId, correlationId }, body),
    ...body,
  ];
  const { payload } = await new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
    requestQueue.push({
      entry: { ...protocol.request, correlationId, resolve, reject },
      expectResponse: true,
      requestTimeout: null,
      sendRequest: () => {
        socket?.cork();
        for (const part of parts) socket?.write(part);
        socket?.uncork();
      },
    });
  });
  const answer = (await protocol.response.decode(payload)) as T & Throttling;
  requestQueue.maybeThrottle(answer.clientSideThrottleTime ?? null);
  return answer;
}

interface Throttling {
  readonly clientSideThrottleTime?: number;
}

/** Length and header, version 1: key, version, number and client of the request. */
function requestHead(
  { apiKey, apiVersion }: RequestKind,
  { clientId, correlationId }: { readonly clientId: string; readonly correlationId: number },
  body: readonly Buffer[],
): Buffer {
  const client = Buffer.from(clientId);
  const head = Buffer.alloc(4 + 2 + 2 + 4 + 2 + client.length);
  const bytes = body.reduce((sum, { length }) => sum + length, head.length);
  let at = head.writeInt32BE(bytes - 4);
  at = head.writeInt16BE(apiKey, at);
  at = head.writeInt16BE(apiVersion, at);
  at = head.writeInt32BE(correlationId, at);
  at = head.writeInt16BE(client.length, at);
  client.copy(head, at);
  return head;
}

/** When nothing is throttled but requests wait, kafkajs looks again after this long. */
const pendingCheckMs = 10;

// As published, it schedules the next look after each look, pending or not: a timer each millisecond and
// connection for ever, 5 % of a core. With this it looks only while something waits.
RequestQueue.prototype.scheduleCheckPendingRequests = function schedule() {
  if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
  const throttledMs = this.throttledUntil - Date.now();
  const waitMs = throttledMs > 0 ? throttledMs : pendingCheckMs;
  this.throttleCheckTimeoutId = setTimeout(() => {
    this.throttleCheckTimeoutId = null;
    this.checkPendingRequests();
  }, waitMs);
};
