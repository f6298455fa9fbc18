import { expect, test } from 'vitest';
import { parseConfig } from '../../runtime/config.ts';
import { renderStackConfiguration } from './stack-configuration.ts';

const sourceUrl = 'postgres://postgres:f00d@127.0.0.1:15001/app';
const registryUrl = 'http://127.0.0.1:15002/apis/ccompat/v7';
const parsed = (count: number) => {
  const brokers = Array.from({ length: count }, (_, index) => `127.0.0.1:${16_000 + index}`);
  const text = renderStackConfiguration({ sourceUrl, brokers, registryUrl });
  return { brokers, config: parseConfig(text, { file: '/stack/tributary.yaml', env: {} }) };
};

test('the configuration of a stack is whole as it is: no variable, no file beside it', () => {
  const { brokers, config } = parsed(1);
  expect(config.source).toMatchObject({ url: sourceUrl, publication: 'tributary' });
  expect(config.log).toMatchObject({ type: 'kafka', brokers });
  expect(config.registry).toMatchObject({ type: 'confluent', url: registryUrl });
  expect(config.sinks).toMatchObject({ lake: { type: 'duckdb', path: '/stack/lake.duckdb' } });
});

test.each([
  [1, 1, 1],
  [2, 2, 1],
  [3, 3, 2],
  [5, 3, 2],
])('of %i brokers a topic is on %i, and %i must have a record', (count, replication, min) => {
  expect(parsed(count).config.log).toMatchObject({
    topics: { replication, min_insync: min },
  });
});
