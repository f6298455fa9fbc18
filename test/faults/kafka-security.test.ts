import { randomUUID } from 'node:crypto';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { LogRecord } from '../../log/log.ts';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { plainClient, withAdmin } from '../support/kafka-client.ts';
import { kafkaConfig } from '../support/kafka-config.ts';
import { createTestCertificates, testSecurity, unsignedToken } from '../support/kafka-security.ts';
import type { TestCertificates } from '../support/kafka-security.ts';
import { startTestKafka } from '../support/kafka.ts';
import { readAll } from '../support/resuming-writer.ts';

const clients = ['auto', 'kafkajs', 'platformatic'] as const;
const password = 'correct-horse-battery';
const wrongPassword = 'wrong-staple';
const allowed = 'allowed';

let dir = '';
let certificates: TestCertificates;
let cluster: KafkaCluster;
let tokens: Server;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tributary-kafka-security-'));
  certificates = await createTestCertificates(dir);
  const security = testSecurity(certificates, { password, hasAcls: true });
  cluster = await startTestKafka({ security });
  await allow(kafkajs.AclResourceTypes.TOPIC, `${allowed}.`);
  tokens = createServer((request, response) => {
    const isKnown =
      request.headers.authorization ===
      `Basic ${Buffer.from(`app:${password}`).toString('base64')}`;
    response.statusCode = isKnown ? 200 : 401;
    response.end(JSON.stringify(isKnown ? { access_token: unsignedToken('app') } : {}));
  });
  tokens.listen(0, '127.0.0.1');
  await once(tokens, 'listening');
});
afterAll(async () => {
  tokens?.close();
  await cluster?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** Lets user `app` do everything with topics of a prefix. */
async function allow(resourceType: kafkajs.AclResourceTypes, resourceName: string): Promise<void> {
  await withAdmin(plainClient(cluster.brokers), (admin) =>
    admin.createAcls({
      acl: [
        {
          resourceType,
          resourceName,
          resourcePatternType: kafkajs.ResourcePatternTypes.PREFIXED,
          principal: 'User:app',
          host: '*',
          operation: kafkajs.AclOperationTypes.ALL,
          permissionType: kafkajs.AclPermissionTypes.ALLOW,
        },
      ],
    }),
  );
}

const tokenUrl = (): string => {
  const address = tokens.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/token`;
};

type Overrides = Readonly<Record<string, unknown>>;

function configOf(client: string, more: Overrides = {}): KafkaLogConfig {
  return kafkaConfig({
    brokers: cluster.securedBrokers,
    client,
    prefix: `${allowed}.${randomUUID()}`,
    timeout: { connect: '5 s', request: '5 s' },
    tls: { ca_file: certificates.caFile },
    sasl: { mechanism: 'scram-sha-512', username: 'app', password },
    ...more,
  });
}

const records: LogRecord[] = [
  { key: Buffer.from('k'), value: Buffer.from('v'), headers: [], timestampMs: 1 },
];

/** Writes a record and reads it again. */
async function roundTrip(config: KafkaLogConfig): Promise<number> {
  const topic = `${config.prefix}.orders`;
  const log = await openKafkaLog({ config });
  try {
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    await log.append([{ topic, partition: 0, records }]);
    return (await readAll(log, { topic, partition: 0 })).length;
  } finally {
    await log.close();
  }
}

async function failureOf(config: KafkaLogConfig): Promise<PipelineError> {
  try {
    await roundTrip(config);
  } catch (error) {
    if (error instanceof PipelineError) return error;
    throw error;
  }
  throw new Error('nothing failed');
}

/** Everything that may be printed of an error. */
function textOf(error: Error): string {
  const cause = error.cause instanceof Error ? textOf(error.cause) : '';
  const more = error instanceof PipelineError ? JSON.stringify([error.hint, error.context]) : '';
  return [error.message, error.stack, more, cause].join('\n');
}

describe.each(clients)('with %s', (client) => {
  it.each(['scram-sha-512', 'scram-sha-256', 'plain'])('writes and reads with %s', async (way) => {
    const config = configOf(client, { sasl: { mechanism: way, username: 'app', password } });
    expect(await roundTrip(config)).toBe(1);
  });

  it('writes and reads with a token of client credentials', async () => {
    const sasl = { mechanism: 'oauthbearer', username: 'app', password, token_url: tokenUrl() };
    expect(await roundTrip(configOf(client, { sasl }))).toBe(1);
  });

  it('writes and reads with a certificate of its own', async () => {
    const { caFile, client: own } = certificates;
    const tls = { ca_file: caFile, cert_file: own.certFile, key_file: own.keyFile };
    const config = configOf(client, { brokers: cluster.mutualBrokers, tls, sasl: undefined });
    expect(await roundTrip(config)).toBe(1);
  });

  it.each<[name: string, more: () => Overrides, message: RegExp]>([
    [
      'an authority that we do not trust',
      () => ({ brokers: cluster.otherBrokers('FOREIGN') }),
      /authority that we do not trust/,
    ],
    [
      'a certificate for another host',
      () => ({ brokers: cluster.otherBrokers('WRONG_HOST') }),
      /certificate is for another host name/,
    ],
    [
      'an expired certificate',
      () => ({ brokers: cluster.otherBrokers('EXPIRED') }),
      /certificate has expired/,
    ],
    [
      'a wrong password',
      () => ({ sasl: { mechanism: 'scram-sha-512', username: 'app', password: wrongPassword } }),
      /refused the user name or the password/,
    ],
    [
      'a wrong password sent plainly',
      () => ({ sasl: { mechanism: 'plain', username: 'app', password: wrongPassword } }),
      /refused the user name or the password/,
    ],
    [
      'a client secret that the token server refuses',
      () => ({
        sasl: {
          mechanism: 'oauthbearer',
          username: 'app',
          password: wrongPassword,
          token_url: tokenUrl(),
        },
      }),
      /token server .* gave no token: 401/,
    ],
    [
      'a topic without permission',
      () => ({ prefix: 'forbidden' }),
      /topic forbidden\.orders .*our user may not do that/,
    ],
    [
      'a password that would go unencrypted',
      () => ({
        brokers: cluster.brokers,
        tls: undefined,
        sasl: { mechanism: 'plain', username: 'app', password },
      }),
      /would be sent unencrypted/,
    ],
  ])('%s is told precisely, once, and without a secret', async (_, more, message) => {
    const error = await failureOf(configOf(client, more()));
    expect([error.kind, error.message]).toEqual(['log-denied', expect.stringMatching(message)]);
    expect(error.hint).toMatch(/log\.|certificate|kafka-acls/);
    const text = textOf(error);
    expect([password, wrongPassword].filter((secret) => text.includes(secret))).toEqual([]);
  });

  it('a client certificate of an unknown authority is refused by the broker, and said so', async () => {
    const { caFile, foreignClient } = certificates;
    const tls = {
      ca_file: caFile,
      cert_file: foreignClient.certFile,
      key_file: foreignClient.keyFile,
    };
    const config = configOf(client, { brokers: cluster.mutualBrokers, tls, sasl: undefined });
    const error = await failureOf(config);
    expect(error.message).toMatch(/refused our certificate|closed the connection|hung up/);
  });

  it('uses certificate and password files as they are when a connection opens', async () => {
    const passwordFile = join(dir, `password-${client}`);
    const caFile = join(dir, `ca-${client}.pem`);
    await writeFile(passwordFile, `${wrongPassword}\n`);
    await copyFile(certificates.foreignCaFile, caFile);
    const config = configOf(client, {
      tls: { ca_file: caFile },
      sasl: { mechanism: 'scram-sha-512', username: 'app', password_file: passwordFile },
    });
    expect((await failureOf(config)).message).toMatch(/authority that we do not trust/);
    await copyFile(certificates.caFile, caFile);
    expect((await failureOf(config)).message).toMatch(/refused the user name or the password/);
    await writeFile(passwordFile, `${password}\n`);
    expect(await roundTrip(config)).toBe(1);
  });
});
