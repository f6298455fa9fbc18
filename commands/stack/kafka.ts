import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { PipelineError } from '../../runtime/errors.ts';
import { classArchiveFlags } from './class-archive.ts';
import { findJava } from './java.ts';
import { fetchJars, type FetchOptions } from './jars.ts';
import {
  type KafkaSecurity,
  listenerNames,
  type NodePlan,
  type NodePorts,
  serverSettings,
} from './kafka-settings.ts';
import { freePorts } from './ports.ts';
import { quickStart, runTool, type ServerProcess, startServer } from './server-process.ts';

const javaMajorMin = 17;
const heapMax = '512m';

export interface KafkaOptions extends FetchOptions {
  /** Folder of the cluster; one that is there is started again, with its data and its ports. */
  readonly dir: string;
  /** How many brokers (default 1); each is a controller as well. */
  readonly brokers?: number;
  /** Further lines of `server.properties`. */
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly security?: KafkaSecurity;
}

export interface KafkaNode {
  /** 0 while it does not run. */
  readonly pid: number;
  /** host:port of the plain listener. */
  readonly address: string;
  /** Again, on the same ports, after `kill` or `stop`; resolves when it answers. */
  readonly start: () => Promise<void>;
  /** Asks it to end; resolves when it is gone. */
  readonly stop: () => Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /** SIGSTOP and SIGCONT. */
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** Resolves when the process that runs now is gone, with the end of its log. */
  readonly ended: () => Promise<string>;
}

export interface KafkaCluster extends AsyncDisposable {
  /** host:port of the plain listeners. */
  readonly brokers: readonly string[];
  /** Of SASL_SSL and of mutual TLS; empty without `security`. */
  readonly securedBrokers: readonly string[];
  readonly mutualBrokers: readonly string[];
  /** Of one of `security.others`. */
  readonly otherBrokers: (listener: string) => readonly string[];
  readonly node: (index: number) => KafkaNode;
  /** Runs a class of Kafka's command line, e.g. `kafka.admin.ConfigCommand`; gives what it said. */
  readonly tool: (mainClass: string, args: readonly string[]) => Promise<string>;
  /** Asks all to end; what they keep is whole on disk. */
  readonly stop: () => Promise<void>;
  /** Kills all: quicker, for a folder that goes away. */
  readonly kill: () => Promise<void>;
}

/**
 * Starts Apache Kafka on loopback, without ZooKeeper and without Docker. Throws `setup-failed` when Java,
 * Maven or the download is missing, or with the server's last words.
 */
export async function startKafka(options: KafkaOptions): Promise<KafkaCluster> {
  const java = await findJava(javaMajorMin, options);
  const jars = path.join(await fetchJars('kafka', options), 'lib', '*');
  const plain = { java: java.path, jars, flags: [], toolFlags: [], signal: options.signal };
  const flags = await classArchiveFlags({
    ...options,
    what: 'Kafka',
    java,
    jars,
    warmUp: async (dir, recording) => {
      const cluster = await startCluster({ dir }, { ...plain, flags: recording });
      await cluster.stop();
    },
  });
  return startCluster(options, { ...plain, flags, toolFlags: flags });
}

interface KafkaRuntime {
  readonly java: string;
  readonly jars: string;
  /** Of the JVM of a server, and of a tool. */
  readonly flags: readonly string[];
  readonly toolFlags: readonly string[];
  readonly signal: AbortSignal | undefined;
}

async function startCluster(options: KafkaOptions, runtime: KafkaRuntime): Promise<KafkaCluster> {
  const { security, settings, brokers: count = 1 } = options;
  const dir = path.resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const ports = await clusterPorts(dir, count, listenerNames(security));
  const plans = ports.map((_, index): NodePlan => {
    const folder = path.join(dir, `node-${index + 1}`);
    return { folder, index, ports, security, settings };
  });
  await Promise.all(plans.map((plan) => format(plan, runtime)));
  const nodes = plans.map((plan) => createNode(plan, runtime));
  const onAll = async (act: (node: KafkaNode) => Promise<void>) => {
    await Promise.all(nodes.map(act));
  };
  const kill = () => onAll((node) => node.kill());
  // Each waits for a majority of the others.
  await onAll((node) => node.start()).catch(async (error: unknown) => {
    await kill();
    throw error;
  });
  const stop = () => onAll((node) => node.stop());
  const at = (name: string) =>
    ports.flatMap((own) => (name in own ? [`127.0.0.1:${own[name]}`] : []));
  return {
    brokers: at('PLAINTEXT'),
    securedBrokers: at('SASL_SSL'),
    mutualBrokers: at('SSL'),
    otherBrokers: at,
    node: (index) => {
      const node = nodes[index];
      if (node === undefined) throw new RangeError(`the cluster has no node ${index}`);
      return node;
    },
    tool: (mainClass, args) => runTool({ ...runtime, mainClass, args }),
    stop,
    kill,
    [Symbol.asyncDispose]: stop,
  };
}

/** The ports of a cluster stay the same when its folder is started again. */
async function clusterPorts(
  dir: string,
  count: number,
  listeners: readonly string[],
): Promise<readonly NodePorts[]> {
  const file = path.join(dir, 'ports.json');
  const stored = await readFile(file, 'utf8').catch(() => '[]');
  const known = JSON.parse(stored) as readonly NodePorts[];
  if (known.length > 0 && known.length !== count) {
    throw new PipelineError(
      'setup-failed',
      `the Kafka cluster in ${dir} has ${known.length} brokers, not ${count}`,
      { hint: `start it with ${known.length}, or name another folder` },
    );
  }
  const fresh = (await freePorts(count * listeners.length)).values();
  const ports = Array.from({ length: count }, (_, index) =>
    Object.fromEntries(
      listeners.map((name) => [name, known[index]?.[name] ?? fresh.next().value ?? 0]),
    ),
  );
  await writeFile(file, `${JSON.stringify(ports, null, 2)}\n`);
  return ports;
}

/** A cluster id is 16 bytes in URL-safe base64; any will do for a cluster of our own. */
const clusterId = Buffer.from('tributary-stack!').toString('base64url');

/** Writes the settings, and on first use the node's storage with the users in it. */
async function format(plan: NodePlan, runtime: KafkaRuntime): Promise<void> {
  const { folder, security } = plan;
  await mkdir(folder, { recursive: true });
  const lines = Object.entries(serverSettings(plan)).map(([name, value]) => `${name}=${value}\n`);
  // It holds the passwords of PLAIN.
  await writeFile(settingsFile(plan), lines.join(''), { mode: 0o600 });
  if (existsSync(path.join(folder, 'data', 'meta.properties'))) return;
  const users = Object.entries(security?.users ?? {});
  const scram = users.flatMap(([name, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${name},password=${password}]`,
    ]),
  );
  await runTool({
    ...runtime,
    mainClass: 'kafka.tools.StorageTool',
    args: ['format', '-t', clusterId, '-c', settingsFile(plan), ...scram],
    secrets: users.map(([, password]) => password),
  });
}

const settingsFile = ({ folder }: NodePlan) => path.join(folder, 'server.properties');

function createNode(plan: NodePlan, { java, jars, flags, signal }: KafkaRuntime): KafkaNode {
  const port = plan.ports[plan.index]?.['PLAINTEXT'] ?? 0;
  let server: ServerProcess | null = null;
  const start = async () => {
    server ??= await startServer({
      what: 'Kafka',
      java,
      args: [
        `-Xmx${heapMax}`,
        ...quickStart,
        ...flags,
        '-cp',
        jars,
        'kafka.Kafka',
        settingsFile(plan),
      ],
      dir: plan.folder,
      signal,
      isReady: async (log) => log.includes('Kafka Server started') && (await answers(port)),
    });
  };
  const end = async (how: 'stop' | 'kill') => {
    const running = server;
    await running?.[how]();
    if (server === running) server = null;
  };
  return {
    get pid() {
      return server?.pid ?? 0;
    },
    address: `127.0.0.1:${port}`,
    start,
    stop: () => end('stop'),
    kill: () => end('kill'),
    freeze: () => server?.signal('SIGSTOP'),
    thaw: () => server?.signal('SIGCONT'),
    ended: async () => {
      const running = server;
      await running?.ended;
      return (await running?.lastWords()) ?? '';
    },
  };
}

function answers(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('error', () => resolve(false));
  socket.once('connect', () => {
    socket.destroy();
    resolve(true);
  });
  return promise;
}
