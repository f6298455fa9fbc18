import path from 'node:path';
import type { Identity } from './certificates.ts';

/** Listeners beside the plain one: SASL over TLS, and TLS with client certificates. */
export interface KafkaSecurity {
  /** Whom the mutual listener believes. */
  readonly caFile: string;
  readonly server: Identity;
  /** Name → password, for SCRAM and PLAIN. OAUTHBEARER takes any unsigned token of the right shape. */
  readonly users: Readonly<Record<string, string>>;
  /** Refuse what no access control list allows; the plain listener may do everything. */
  readonly hasAcls?: boolean;
  /** Further SASL_SSL listeners by name (A-Z, _), each with a certificate of its own: to be refused by clients. */
  readonly others?: Readonly<Record<string, Identity>>;
}

/** Listener name → port. */
export type NodePorts = Readonly<Record<string, number>>;

export interface NodePlan {
  /** The node's own folder. */
  readonly folder: string;
  /** From 0; its id is one more. */
  readonly index: number;
  /** Of every node. */
  readonly ports: readonly NodePorts[];
  readonly security?: KafkaSecurity | undefined;
  readonly settings?: Readonly<Record<string, string | number>> | undefined;
}

const controller = 'CONTROLLER';

/** The names of the listeners that a node has, in the order of `listeners`. */
export function listenerNames(security: KafkaSecurity | undefined): readonly string[] {
  const secured = security === undefined ? [] : ['SASL_SSL', 'SSL'];
  return ['PLAINTEXT', ...secured, ...Object.keys(security?.others ?? {}), controller];
}

/**
 * The lines of a node's `server.properties`: broker and controller in one, everything on loopback, small
 * enough for a laptop and quick to come back after a crash.
 */
export function serverSettings(plan: NodePlan): Readonly<Record<string, string | number>> {
  const { folder, index, ports, security, settings = {} } = plan;
  const names = listenerNames(security);
  const at = (name: string) => `${name}://127.0.0.1:${ports[index]?.[name] ?? 0}`;
  const replicas = Math.min(3, ports.length);
  const others = Object.keys(security?.others ?? {}).map((name) => `${name}:SASL_SSL`);
  return {
    'process.roles': 'broker,controller',
    'node.id': index + 1,
    'controller.quorum.voters': ports
      .map((own, at) => `${at + 1}@127.0.0.1:${own[controller]}`)
      .join(','),
    listeners: names.map(at).join(','),
    'advertised.listeners': names
      .filter((name) => name !== controller)
      .map(at)
      .join(','),
    'listener.security.protocol.map': [
      'PLAINTEXT:PLAINTEXT',
      `${controller}:PLAINTEXT`,
      'SASL_SSL:SASL_SSL',
      'SSL:SSL',
      ...others,
    ].join(','),
    'controller.listener.names': controller,
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': path.join(folder, 'data'),
    'auto.create.topics.enable': 'false',
    'default.replication.factor': replicas,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.num.partitions': 4,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': 1,
    // A broker that was killed may come back once its old session is over.
    'broker.session.timeout.ms': 4_000,
    'broker.heartbeat.interval.ms': 500,
    'group.initial.rebalance.delay.ms': 0,
    'log.cleaner.dedupe.buffer.size': 16_777_216,
    'num.network.threads': 2,
    'num.io.threads': 2,
    ...(security === undefined ? {} : securitySettings(security)),
    ...settings,
  };
}

const modules = 'org.apache.kafka.common.security';

function securitySettings(security: KafkaSecurity): Readonly<Record<string, string>> {
  const { caFile, server, hasAcls, others = {} } = security;
  const acls = {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': 'User:ANONYMOUS',
  };
  const other = Object.entries(others).map(([name, identity]) => {
    const listener = `listener.name.${name.toLowerCase()}`;
    return {
      [`${listener}.ssl.keystore.type`]: 'PEM',
      [`${listener}.ssl.keystore.location`]: identity.bothFile,
      ...saslSettings(listener, security),
    };
  });
  return {
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': server.bothFile,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': caFile,
    'listener.name.ssl.ssl.client.auth': 'required',
    'ssl.principal.mapping.rules': 'RULE:^.*CN=([^,]+).*$/$1/,DEFAULT',
    ...saslSettings('listener.name.sasl_ssl', security),
    ...Object.assign({}, ...other),
    ...(hasAcls === true ? acls : {}),
  };
}

function saslSettings(
  listener: string,
  { users }: KafkaSecurity,
): Readonly<Record<string, string>> {
  const plainUsers = Object.entries(users).map(([name, word]) => `user_${name}="${word}"`);
  return {
    [`${listener}.sasl.enabled.mechanisms`]: 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
    [`${listener}.plain.sasl.jaas.config`]: `${modules}.plain.PlainLoginModule required ${plainUsers.join(' ')};`,
    [`${listener}.scram-sha-256.sasl.jaas.config`]: `${modules}.scram.ScramLoginModule required;`,
    [`${listener}.scram-sha-512.sasl.jaas.config`]: `${modules}.scram.ScramLoginModule required;`,
    // Tokens without a signature are for tests: whoever knows the port is on this machine.
    [`${listener}.oauthbearer.sasl.jaas.config`]: `${modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
    [`${listener}.oauthbearer.sasl.server.callback.handler.class`]: `${modules}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
  };
}
