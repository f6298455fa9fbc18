import { createRequire } from 'node:module';
import type { Socket } from 'node:net';

/*
 * kafkajs offers consumption only through consumer groups, and sending only with retries of its own. What
 * is exact lies one level below: its brokers, one request at a time. These are the parts that are used, of
 * the pinned version.
 */

export interface ProtocolRequest {
  readonly request: unknown;
  readonly response: {
    decode(data: unknown): Promise<unknown>;
    parse(data: unknown): Promise<unknown>;
  };
}

export interface ConnectionPool {
  send(protocol: ProtocolRequest): Promise<unknown>;
}

export interface Broker {
  readonly connectionPool: ConnectionPool;
  readonly versions: ApiVersions | null;
  isConnected(): boolean;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  lookupRequest(apiKey: number, definition: unknown): (fields: object) => ProtocolRequest;
}

/** Api key → versions. */
export type ApiVersions = Readonly<
  Record<string, { readonly minVersion: number; readonly maxVersion: number }>
>;

export interface SocketFactoryInput {
  readonly host: string;
  readonly port: number;
  readonly onConnect: () => void;
}

interface PoolBuilder {
  build(destination: { readonly host: string; readonly port: number }): Promise<ConnectionPool>;
}

interface Logger {
  namespace(name: string): Logger;
}

export interface RequestDefinition {
  readonly versions: readonly (number | string)[];
}

interface RequestQueue {
  pending: readonly unknown[];
  throttledUntil: number;
}

const load = createRequire(import.meta.url);

export const Broker = load('kafkajs/src/broker') as new (options: {
  readonly connectionPool: ConnectionPool;
  readonly logger: Logger;
  readonly nodeId?: number;
  readonly authenticationTimeout: number;
  readonly allowAutoTopicCreation: false;
}) => Broker;

export const connectionPoolBuilder = load(
  'kafkajs/src/cluster/connectionPoolBuilder',
) as (options: {
  readonly logger: Logger;
  readonly socketFactory: (input: SocketFactoryInput) => Socket;
  readonly brokers: readonly string[];
  readonly ssl: object | undefined;
  readonly sasl: object | undefined;
  readonly clientId: string;
  readonly connectionTimeout: number;
  readonly requestTimeout: number;
  readonly enforceRequestTimeout: true;
  readonly maxInFlightRequests: null;
  readonly reauthenticationThreshold: number;
}) => PoolBuilder;

export const { requests } = load('kafkajs/src/protocol/requests') as {
  readonly requests: Readonly<Record<string, RequestDefinition>>;
};
export const apiKeys = load('kafkajs/src/protocol/requests/apiKeys') as Readonly<
  Record<string, number>
>;
export const { createErrorFromCode } = load('kafkajs/src/protocol/error') as {
  readonly createErrorFromCode: (code: number) => Error & { readonly type: string };
};

const { createLogger } = load('kafkajs/src/loggers') as {
  readonly createLogger: (options: {
    readonly level: number;
    readonly logCreator: () => () => void;
  }) => Logger;
};
/** What matters is in the errors. */
export const silentLogger = createLogger({ level: 0, logCreator: () => () => {} });

const queue = load('kafkajs/src/network/requestQueue') as {
  readonly prototype: RequestQueue & {
    scheduleCheckPendingRequests: (this: RequestQueue) => void;
  };
};
const original = queue.prototype.scheduleCheckPendingRequests;
/**
 * kafkajs looks every millisecond whether a request waits, on every connection and for ever: 5 % of a core.
 * It is needed only where one does wait. https://github.com/tulios/kafkajs/issues/1751
 */
queue.prototype.scheduleCheckPendingRequests = function schedule(this: RequestQueue) {
  if (this.pending.length > 0 || this.throttledUntil > Date.now()) original.call(this);
};
