import { expect, test } from 'vitest';
import { parseConfig } from '../runtime/config.ts';
import { rolesOf } from './run.ts';

const configOf = (more: string) =>
  parseConfig(
    `source: { url: "postgres://app@localhost/shop" }\nlog: { type: embedded }\n${more}`,
    {
      file: '/etc/tributary.yaml',
      env: {},
    },
  );

test('capture, each sink and the models get a process each, and every lasting one a metrics port', () => {
  const config = configOf(`
sinks: { lake: { type: duckdb, path: a }, second: { type: duckdb, path: b } }
models: { sink: lake, every: 90 s }
metrics: { port: 9464 }
`);
  const roles = rolesOf(config, 'debug').map(({ role, command, env, everyMs }) => ({
    role,
    words: command.slice(2).join(' '),
    env,
    everyMs,
  }));
  expect(roles).toMatchInlineSnapshot(`
    [
      {
        "env": {
          "TRIBUTARY_METRICS_PORT": "9464",
        },
        "everyMs": undefined,
        "role": "capture",
        "words": "capture --config /etc/tributary.yaml --log-level debug",
      },
      {
        "env": {
          "TRIBUTARY_METRICS_PORT": "9465",
        },
        "everyMs": undefined,
        "role": "lake",
        "words": "sink lake --config /etc/tributary.yaml --log-level debug",
      },
      {
        "env": {
          "TRIBUTARY_METRICS_PORT": "9466",
        },
        "everyMs": undefined,
        "role": "second",
        "words": "sink second --config /etc/tributary.yaml --log-level debug",
      },
      {
        "env": undefined,
        "everyMs": 90000,
        "role": "models",
        "words": "models build --config /etc/tributary.yaml --log-level debug",
      },
    ]
  `);
});

test('without a sink there is nothing to run', () => {
  expect(() => rolesOf(configOf(''))).toThrow('no sink is configured');
});
