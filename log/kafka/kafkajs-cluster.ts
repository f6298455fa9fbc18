import { connect, type Socket } from 'node:net';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { fetchToken, readTls } from './connection-options.ts';
import {
  apiKeys,
  type ApiVersions,
  Broker,
  connectionPoolBuilder,
  createErrorFromCode,
  requests,
  silentLogger,
  type SocketFactoryInput,
} from './kafkajs-internals.ts';

const clientId = 'tributary';
const keepAliveMs = 60_000;
/** A session that ends sooner is authenticated again before that. */
const reauthenticationMs = 10_000;

export interface Metadata {
  readonly brokers: readonly {
    readonly nodeId: number;
    readonly host: string;
    readonly port: number;
  }[];
  readonly controllerId: number;
  readonly topicMetadata: readonly {
    readonly topic: string;
    readonly topicErrorCode: number;
    readonly isInternal: boolean;
    readonly partitionMetadata: readonly {
      readonly partitionId: number;
      readonly leader: number;
    }[];
  }[];
}

/** The brokers of a cluster, each with its connections; asks one thing at a time and retries nothing. */
export class KafkajsCluster {
  readonly #config: KafkaLogConfig;
  readonly #builder: ReturnType<typeof connectionPoolBuilder>;
  readonly #sockets = new Set<Socket>();
  readonly #nodes = new Map<number, { readonly address: string; readonly broker: Broker }>();
  #seed: Broker | null = null;

  constructor(config: KafkaLogConfig) {
    this.#config = config;
    this.#builder = connectionPoolBuilder({
      logger: silentLogger,
      socketFactory: (input) => this.#openSocket(input),
      brokers: config.brokers,
      ssl: config.tls,
      sasl: saslOf(config),
      clientId,
      connectionTimeout: config.timeout.connect,
      requestTimeout: config.timeout.request,
      enforceRequestTimeout: true,
      maxInFlightRequests: null,
      reauthenticationThreshold: reauthenticationMs,
    });
  }

  /** Who leads what: of the topics named, or of all. Topics with an error are in the answer, not thrown. */
  async metadata(topics: readonly string[]): Promise<Metadata> {
    const broker = await this.#anyBroker();
    const answer = await sendUnparsed(broker, 'Metadata', {
      topics,
      allowAutoTopicCreation: false,
    });
    const metadata = answer as Metadata;
    for (const { nodeId, host, port } of metadata.brokers) await this.#keepNode(nodeId, host, port);
    return metadata;
  }

  /** Sends one request to a broker; the answer as kafkajs decodes it, its errors included. */
  async ask(nodeId: number, name: string, fields: object): Promise<unknown> {
    const node = this.#nodes.get(nodeId);
    // −1 while a partition has no leader.
    if (node === undefined) throw createErrorFromCode(leaderNotAvailable);
    await node.broker.connect();
    return sendUnparsed(node.broker, name, fields);
  }

  async versions(): Promise<ApiVersions> {
    return (await this.#anyBroker()).versions ?? {};
  }

  /** Requests under way end with an error. */
  close(): void {
    // With an error, because kafkajs takes no notice of a socket that just closes, and would wait on.
    for (const socket of this.#sockets) socket.destroy(new Error('the log was closed'));
    this.#sockets.clear();
  }

  async #anyBroker(): Promise<Broker> {
    if (this.#seed?.isConnected()) return this.#seed;
    const failures: unknown[] = [];
    for (const address of this.#config.brokers) {
      const { host, port } = splitAddress(address);
      const broker = await this.#createBroker(host, port);
      try {
        await broker.connect();
        this.#seed = broker;
        return broker;
      } catch (error) {
        failures.push(error);
        await broker.disconnect();
      }
    }
    throw failures.length === 1 ? failures[0] : new AggregateError(failures);
  }

  async #keepNode(nodeId: number, host: string, port: number): Promise<void> {
    const address = `${host}:${port}`;
    const known = this.#nodes.get(nodeId);
    if (known?.address === address) return;
    if (known !== undefined) await known.broker.disconnect();
    this.#nodes.set(nodeId, { address, broker: await this.#createBroker(host, port, nodeId) });
  }

  async #createBroker(
    ...[host, port, nodeId]: readonly [string, number, number?]
  ): Promise<Broker> {
    return new Broker({
      connectionPool: await this.#builder.build({ host, port }),
      logger: silentLogger,
      ...(nodeId === undefined ? {} : { nodeId }),
      authenticationTimeout: this.#config.timeout.connect,
      allowAutoTopicCreation: false,
    });
  }

  /** Certificates are read for each connection, so that rotated ones are used. */
  #openSocket({ host, port, onConnect }: SocketFactoryInput): Socket {
    const tls = readTls(this.#config);
    const name = isIP(host) === 0 ? { servername: host } : {};
    const socket =
      tls === undefined
        ? connect({ host, port }, onConnect)
        : connectTls({ host, port, ...name, ...tls }, onConnect);
    socket.setKeepAlive(true, keepAliveMs);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

const leaderNotAvailable = 5;

/** kafkajs throws away an answer that has any error; we want each partition's own. */
async function sendUnparsed(broker: Broker, name: string, fields: object): Promise<unknown> {
  const make = broker.lookupRequest(apiKeys[name] ?? -1, requests[name]);
  const { response, ...protocol } = make(fields);
  return broker.connectionPool.send({
    ...protocol,
    response: { ...response, parse: async (answer) => answer },
  });
}

function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(address.slice(at + 1)) };
}

function saslOf(config: KafkaLogConfig): object | undefined {
  const { sasl } = config;
  if (sasl?.mechanism === undefined) return undefined;
  const { mechanism, username = '', password = '' } = sasl;
  if (mechanism !== 'oauthbearer') return { mechanism, username, password };
  return { mechanism, oauthBearerProvider: () => fetchToken(config) };
}
