import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Identity } from '../../commands/stack/certificates.ts';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import { startTestKafka } from '../support/kafka.ts';
import {
  atOnce,
  createTestTopic,
  plainClient,
  produceValues,
  withAdmin,
} from '../support/kafka-client.ts';
import {
  createTestCertificates,
  readPem,
  type TestCertificates,
  testSecurity,
  unsignedToken,
} from '../support/kafka-security.ts';

const password = 'open-sesame';
const topic = 'guarded';

describe('a secured cluster', () => {
  let dir: string;
  let certificates: TestCertificates;
  let cluster: KafkaCluster;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-tls-'));
    certificates = await createTestCertificates(dir);
    cluster = await startTestKafka({
      security: testSecurity(certificates, { password, hasAcls: true }),
    });
    await createTestTopic(plainClient(cluster.brokers), topic);
  });
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });

  const tls = async () => ({ ca: await readPem(certificates.caFile) });
  const topicsSeen = (client: kafkajs.Kafka) => withAdmin(client, (admin) => admin.listTopics());

  async function scramClient(
    mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512',
    word = password,
    brokers = cluster.securedBrokers,
  ): Promise<kafkajs.Kafka> {
    const sasl = { username: 'app', password: word };
    return plainClient(brokers, {
      ...atOnce,
      ssl: await tls(),
      sasl:
        mechanism === 'plain'
          ? { ...sasl, mechanism }
          : mechanism === 'scram-sha-256'
            ? { ...sasl, mechanism }
            : { ...sasl, mechanism },
    });
  }

  test.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
    'lets in who has the password, by %s, and refuses a wrong one',
    async (mechanism) => {
      expect(await topicsSeen(await scramClient(mechanism))).toEqual([]);
      await expect(topicsSeen(await scramClient(mechanism, 'wrong'))).rejects.toThrow(
        /authentication failed/i,
      );
    },
  );

  test('takes a token of the right shape, and no expired one', async () => {
    const client = async (lifetimeSeconds: number) =>
      plainClient(cluster.securedBrokers, {
        ...atOnce,
        ssl: await tls(),
        sasl: {
          mechanism: 'oauthbearer',
          oauthBearerProvider: async () => ({ value: unsignedToken('app', lifetimeSeconds) }),
        },
      });
    expect(await topicsSeen(await client(300))).toEqual([]);
    // The broker says why, this client only that no broker took it.
    await expect(topicsSeen(await client(-300))).rejects.toThrow(/No brokers|invalid_token/);
  });

  test('knows a client by its certificate, and refuses who has none or a foreign one', async () => {
    const mutual = async (own: Identity | null) => {
      const pair =
        own === null ? {} : { cert: await readPem(own.certFile), key: await readPem(own.keyFile) };
      return plainClient(cluster.mutualBrokers, { ...atOnce, ssl: { ...(await tls()), ...pair } });
    };
    expect(await topicsSeen(await mutual(certificates.client))).toEqual([]);
    const refused = /alert bad certificate|alert certificate|closed|disconnected|reset/i;
    await expect(topicsSeen(await mutual(null))).rejects.toThrow(refused);
    await expect(topicsSeen(await mutual(certificates.foreignClient))).rejects.toThrow(refused);
  });

  test.each([
    ['WRONG_HOST', /does not match certificate/],
    ['EXPIRED', /certificate has expired/],
    ['FOREIGN', /self[- ]signed|unable to (verify|get)/],
  ])('has a listener %s that a careful client refuses', async (listener, reason) => {
    const client = await scramClient('scram-sha-512', password, cluster.otherBrokers(listener));
    await expect(topicsSeen(client)).rejects.toThrow(reason);
  });

  test('allows nothing that no access control list allows', async () => {
    const client = await scramClient('scram-sha-512');
    await expect(produceValues(client, topic, ['a'])).rejects.toThrow(/not authorized/i);
    await withAdmin(plainClient(cluster.brokers), (admin) =>
      admin.createAcls({
        acl: [kafkajs.AclOperationTypes.WRITE, kafkajs.AclOperationTypes.DESCRIBE].map(
          (operation) => ({
            resourceType: kafkajs.AclResourceTypes.TOPIC,
            resourceName: topic,
            resourcePatternType: kafkajs.ResourcePatternTypes.LITERAL,
            principal: 'User:app',
            host: '*',
            operation,
            permissionType: kafkajs.AclPermissionTypes.ALLOW,
          }),
        ),
      }),
    );
    await produceValues(client, topic, ['a']);
    expect(await topicsSeen(client)).toEqual([topic]);
  });
});
