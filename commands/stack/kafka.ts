import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import type { Identity } from './certificates.ts';
import { findJava } from './java.ts';
import { fetchJars, type FetchOptions } from './jars.ts';
import { freePort } from './postgres.ts';
import { runTool, type ServerProcess, startServer } from './server-process.ts';

const javaMajorMin = 17;
const heapMax = '512m';

export interface KafkaOptions extends FetchOptions {
  /** Folder of the cluster. */
  readonly dir: string;
  /** How many brokers (default 1); each is a controller as well. */
  readonly brokers?: number;
  /** Further lines of `server.properties`. */
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly security?: KafkaSecurity;
}

/** Listeners beside the plain one: SASL over TLS, and TLS with client certificates. */
export interface KafkaSecurity {
  readonly caFile: string;
  readonly server: Identity;
  /** Name → password, for SCRAM and PLAIN. */
  readonly users: Readonly<Record<string, string>>;
  /** Refuse what no access control list allows; the plain listener may do everything. */
  readonly hasAcls?: boolean;
}

export interface KafkaNode extends Pick<ServerProcess, 'kill' | 'stop'> {
  readonly pid: number;
  /** host:port of the plain listener. */
  readonly address: string;
  /** Again, on the same ports, after `kill` or `stop`; resolves when it answers. */
  start(): Promise<void>;
  freeze(): void;
  thaw(): void;
}

export interface KafkaCluster extends AsyncDisposable {
  /** host:port of the plain listeners. */
  readonly brokers: readonly string[];
  /** Of SASL_SSL and of mutual TLS; empty without `security`. */
  readonly securedBrokers: readonly string[];
  readonly mutualBrokers: readonly string[];
  node(index: number): KafkaNode;
  stop(): Promise<void>;
}

interface NodePorts {
  readonly plain: number;
  readonly controller: number;
  readonly secured: number;
  readonly mutual: number;
}

/**
 * Starts Apache Kafka on loopback, without ZooKeeper and without Docker. Throws `setup-failed` when Java,
 * Maven or the download is missing, or with the server's last words.
 */
export async function startKafka(options: KafkaOptions): Promise<KafkaCluster> {
  const java = await findJava(javaMajorMin, options.env);
  const jars = path.join(await fetchJars('kafka', options), 'lib', '*');
  const dir = path.resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const ports = await clusterPorts(dir, options.brokers ?? 1);
  const run = (words: readonly string[]) => runTool(java.path, ['-cp', jars, ...words]);
  const nodes = await Promise.all(
    ports.map(async (_, index) => {
      const folder = path.join(dir, `node-${index + 1}`);
      await format({ folder, index, ports, options, run });
      return createNode({ folder, java: java.path, jars, ports: ports[index] ?? ports[0]! });
    }),
  );
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  // Each waits for a majority of the others.
  const started = await Promise.allSettled(nodes.map((node) => node.start()));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  const at = (listener: keyof NodePorts) => ports.map((own) => `127.0.0.1:${own[listener]}`);
  return {
    brokers: at('plain'),
    securedBrokers: options.security === undefined ? [] : at('secured'),
    mutualBrokers: options.security === undefined ? [] : at('mutual'),
    node: (index) => {
      const node = nodes[index];
      if (node === undefined) throw new RangeError(`the cluster has no node ${index}`);
      return node;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The ports of a cluster stay the same when its folder is started again. */
async function clusterPorts(dir: string, count: number): Promise<readonly NodePorts[]> {
  const file = path.join(dir, 'ports.json');
  const stored = await readFile(file, 'utf8').catch(() => null);
  if (stored !== null) return JSON.parse(stored) as NodePorts[];
  const ports: NodePorts[] = [];
  for (let index = 0; index < count; index += 1) {
    const [plain, controller] = [await freePort(), await freePort()];
    ports.push({ plain, controller, secured: await freePort(), mutual: await freePort() });
  }
  await writeFile(file, JSON.stringify(ports));
  return ports;
}

interface FormatInput {
  readonly folder: string;
  readonly index: number;
  readonly ports: readonly NodePorts[];
  readonly options: KafkaOptions;
  readonly run: (words: readonly string[]) => Promise<unknown>;
}

/** A cluster id is 16 bytes in URL-safe base64; any will do for a cluster of our own. */
const clusterId = 'VHJpYnV0YXJ5U3RhY2tfXw';

async function format({ folder, index, ports, options, run }: FormatInput): Promise<void> {
  const settings = path.join(folder, 'server.properties');
  const isFormatted = await readFile(settings, 'utf8').catch(() => null);
  if (isFormatted !== null) return;
  await mkdir(folder, { recursive: true });
  const lines = Object.entries(serverSettings({ folder, index, ports, options }));
  const text = lines.map(([name, value]) => `${name}=${value}\n`).join('');
  const users = Object.entries(options.security?.users ?? {}).flatMap(([name, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${name},password=${password}]`,
    ]),
  );
  const draft = `${settings}.new`;
  await writeFile(draft, text, { mode: 0o600 });
  await run(['kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', draft, ...users]);
  await writeFile(settings, text, { mode: 0o600 });
}

function serverSettings({ folder, index, ports, options }: Omit<FormatInput, 'run'>) {
  const own = ports[index] ?? ports[0]!;
  const { security, settings = {} } = options;
  const listener = (name: string, port: number) => `${name}://127.0.0.1:${port}`;
  const secured = [listener('SASL_SSL', own.secured), listener('SSL', own.mutual)];
  const clients = [listener('PLAINTEXT', own.plain), ...(security === undefined ? [] : secured)];
  const replicas = Math.min(3, ports.length);
  return {
    'process.roles': 'broker,controller',
    'node.id': index + 1,
    'controller.quorum.voters': ports
      .map(({ controller }, at) => `${at + 1}@127.0.0.1:${controller}`)
      .join(','),
    listeners: [...clients, listener('CONTROLLER', own.controller)].join(','),
    'advertised.listeners': clients.join(','),
    'listener.security.protocol.map':
      'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL',
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': path.join(folder, 'data'),
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    'log.cleaner.dedupe.buffer.size': 16_777_216,
    'num.network.threads': 2,
    'num.io.threads': 2,
    ...(security === undefined ? {} : securitySettings(security)),
    ...settings,
  };
}

function securitySettings({ caFile, server, users, hasAcls }: KafkaSecurity) {
  const sasl = 'listener.name.sasl_ssl';
  const modules = 'org.apache.kafka.common.security';
  const plainUsers = Object.entries(users).map(([name, word]) => `user_${name}="${word}"`);
  return {
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': server.bothFile,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': caFile,
    'listener.name.ssl.ssl.client.auth': 'required',
    'ssl.principal.mapping.rules': 'RULE:^.*CN=([^,]+).*$/$1/,DEFAULT',
    [`${sasl}.sasl.enabled.mechanisms`]: 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
    [`${sasl}.plain.sasl.jaas.config`]: `${modules}.plain.PlainLoginModule required ${plainUsers.join(' ')};`,
    [`${sasl}.scram-sha-256.sasl.jaas.config`]: `${modules}.scram.ScramLoginModule required;`,
    [`${sasl}.scram-sha-512.sasl.jaas.config`]: `${modules}.scram.ScramLoginModule required;`,
    // Tokens without a signature are for tests: whoever knows the port is on this machine.
    [`${sasl}.oauthbearer.sasl.jaas.config`]: `${modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
    [`${sasl}.oauthbearer.sasl.server.callback.handler.class`]: `${modules}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
    ...(hasAcls === true
      ? {
          'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
          'super.users': 'User:ANONYMOUS',
        }
      : {}),
  };
}

interface NodeInput {
  readonly folder: string;
  readonly java: string;
  readonly jars: string;
  readonly ports: NodePorts;
}

function createNode({ folder, java, jars, ports }: NodeInput): KafkaNode {
  let server: ServerProcess | null = null;
  const start = async () => {
    const flags = [`-Xmx${heapMax}`, '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
    const settings = path.join(folder, 'server.properties');
    server = await startServer({
      what: 'Kafka',
      command: java,
      args: [...flags, '-cp', jars, 'kafka.Kafka', settings],
      pidFile: path.join(folder, 'pid'),
      isReady: async (output) =>
        output.includes('Kafka Server started') && (await answers(ports.plain)),
    });
  };
  return {
    get pid() {
      return server?.pid ?? 0;
    },
    address: `127.0.0.1:${ports.plain}`,
    start,
    stop: async () => server?.stop(),
    kill: async () => server?.kill(),
    freeze: () => server?.signal('SIGSTOP'),
    thaw: () => server?.signal('SIGCONT'),
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
