import { describe, expect, test } from 'vitest';
import { type KafkaSecurity, listenerNames, serverSettings } from './kafka-settings.ts';

const identity = (name: string) => ({
  certFile: `/tls/${name}.pem`,
  keyFile: `/tls/${name}.key`,
  bothFile: `/tls/${name}.both.pem`,
});
const security: KafkaSecurity = {
  caFile: '/tls/ca.pem',
  server: identity('server'),
  users: { app: 'secret' },
  others: { EXPIRED: identity('expired') },
};
const ports = [1, 2, 3].map((node) => ({
  PLAINTEXT: 1000 + node,
  CONTROLLER: 2000 + node,
  SASL_SSL: 3000 + node,
  SSL: 4000 + node,
  EXPIRED: 5000 + node,
}));

describe('the settings of a node', () => {
  test('name every node as a voter, and itself by its number', () => {
    const settings = serverSettings({ folder: '/k/node-2', index: 1, ports });
    expect(settings).toMatchObject({
      'node.id': 2,
      'controller.quorum.voters': '1@127.0.0.1:2001,2@127.0.0.1:2002,3@127.0.0.1:2003',
      listeners: 'PLAINTEXT://127.0.0.1:1002,CONTROLLER://127.0.0.1:2002',
      'advertised.listeners': 'PLAINTEXT://127.0.0.1:1002',
      'offsets.topic.replication.factor': 3,
      'log.dirs': '/k/node-2/data',
    });
  });

  test('without security hold no listener, password or certificate of it', () => {
    expect(listenerNames(undefined)).toEqual(['PLAINTEXT', 'CONTROLLER']);
    const text = JSON.stringify(serverSettings({ folder: '/k', index: 0, ports }));
    expect(text).not.toMatch(/jaas|keystore|authorizer|127\.0\.0\.1:[34]00/);
  });

  test('give each secured listener its certificate and its mechanisms', () => {
    const settings = serverSettings({ folder: '/k', index: 0, ports, security });
    expect(settings['advertised.listeners']).toBe(
      'PLAINTEXT://127.0.0.1:1001,SASL_SSL://127.0.0.1:3001,SSL://127.0.0.1:4001,EXPIRED://127.0.0.1:5001',
    );
    expect(settings['listener.security.protocol.map']).toContain('EXPIRED:SASL_SSL');
    expect(settings).toMatchObject({
      'ssl.keystore.location': '/tls/server.both.pem',
      'listener.name.expired.ssl.keystore.location': '/tls/expired.both.pem',
      'listener.name.ssl.ssl.client.auth': 'required',
      'listener.name.expired.plain.sasl.jaas.config': expect.stringContaining('user_app="secret"'),
    });
    expect(settings).not.toHaveProperty('authorizer.class.name');
    const guarded = serverSettings({
      folder: '/k',
      index: 0,
      ports,
      security: { ...security, hasAcls: true },
    });
    expect(guarded).toHaveProperty('authorizer.class.name');
  });

  test("give way to the caller's own", () => {
    const settings = { 'advertised.listeners': 'PLAINTEXT://127.0.0.1:1', 'message.max.bytes': 9 };
    expect(serverSettings({ folder: '/k', index: 0, ports, settings })).toMatchObject(settings);
  });
});
