import { z } from 'zod';
import { registryAuthSchema, saslSchema, tlsSchema } from './connection-fields.ts';
import {
  choice,
  constant,
  count,
  defaultedPath,
  defaultedText,
  duration,
  optionalDuration,
  optionalSize,
  size,
  text,
  textList,
} from './fields.ts';

const prefixProblem = (prefix: string): string | undefined =>
  /^[A-Za-z0-9._-]{1,100}$/.test(prefix)
    ? undefined
    : `"${prefix}" is not a topic prefix; use at most 100 of A-Z, a-z, 0-9, . _ -`;

const brokerProblem = (broker: string): string | undefined =>
  /^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/.test(broker)
    ? undefined
    : `"${broker}" is not a broker; write host:port`;

const prefix = defaultedText({
  description: 'First part of every topic name.',
  example: 'app',
  default: 'tributary',
  problem: prefixProblem,
  limit: '100 characters',
});

const partitions = count({
  description: 'Partitions of each table topic; fixed once the topic exists.',
  example: '4',
  default: '4',
  min: '1',
  max: '256',
});

const retention = z
  .strictObject({
    age: optionalDuration({
      description: 'Records older than this may go; without it they stay.',
      example: '7 d',
      min: '1 min',
      max: '3650 d',
    }),
    size: optionalSize({
      description:
        'The oldest records go once the log (of Kafka: a partition) holds more; without it they stay.',
      example: '10 GiB',
      min: '1 MiB',
      max: '64 TiB',
    }),
  })
  .prefault({});

export const embeddedLogSchema = z.strictObject({
  type: constant('embedded', 'One SQLite file on this machine.'),
  path: defaultedPath({
    description: 'Folder of the log: the SQLite file log.sqlite and what belongs to it.',
    example: './data/log',
    default: './data/log',
  }),
  prefix,
  partitions,
  retention,
});

export const kafkaLogSchema = z.strictObject({
  type: constant('kafka', 'Topics of a Kafka cluster.'),
  brokers: textList({
    description: 'Brokers to begin with: host:port; the others are learned from them.',
    example: '["kafka-1:9092", "kafka-2:9092"]',
    default: ['localhost:9092'],
    problem: brokerProblem,
  }),
  prefix,
  partitions,
  retention,
  partitioning: choice(['debezium', 'stable'], {
    description:
      'debezium: murmur2 of the key record, as its topics have it. stable: of the key values, whatever their schema id.',
    example: 'stable',
    default: 'debezium',
  }),
  client: choice(['auto', 'kafkajs', 'platformatic'], {
    description: 'The client library; auto is kafkajs. platformatic takes 60 MB of memory more.',
    example: 'kafkajs',
    default: 'auto',
  }),
  topics: z
    .strictObject({
      replication: count({
        description: 'Replicas of a topic that capture creates.',
        example: '3',
        default: '1',
        min: '1',
        max: '16',
      }),
      min_insync: count({
        description: 'Replicas that must have a record before it counts as durable.',
        example: '2',
        default: '1',
        min: '1',
        max: '16',
      }),
      cleanup: choice(['delete', 'compact', 'compact,delete'], {
        description:
          'What Kafka may drop of tables with a key: what is past retention, or what a newer record of its key replaces. Compacted, a sink must not be more than 7 days behind, and a new lake lacks the history and unchanged TOAST values of tables without REPLICA IDENTITY FULL.',
        example: 'compact,delete',
        default: 'delete',
      }),
      message_size: size({
        description: 'Largest record batch that the topic takes (`max.message.bytes`).',
        example: '8 MiB',
        default: '8 MiB',
        min: '64 KiB',
        max: '1 GiB',
      }),
    })
    .prefault({}),
  timeout: z
    .strictObject({
      connect: duration({
        description: 'Longest wait for a connection to a broker.',
        example: '5 s',
        default: '10 s',
        min: '100 ms',
        max: '5 min',
      }),
      request: duration({
        description: 'Longest wait for the answer to a request.',
        example: '30 s',
        default: '30 s',
        min: '1 s',
        max: '10 min',
      }),
    })
    .prefault({}),
  tls: tlsSchema.optional(),
  sasl: saslSchema.optional(),
});

export const embeddedRegistrySchema = z.strictObject({
  type: constant('embedded', 'Avro schemas in the file of the embedded log.'),
});

export const confluentRegistrySchema = z.strictObject({
  type: constant('confluent', "A server with the interface of Confluent's schema registry."),
  url: text({
    description: 'Address of the registry.',
    unit: 'URL',
    example: 'http://localhost:8081',
    problem: (url) =>
      /^https?:\/\//.test(url) && URL.canParse(url)
        ? undefined
        : `"${url}" is not an address; write it like http://host:8081`,
  }),
  compatibility: choice(
    [
      'keep',
      'none',
      'backward',
      'backward_transitive',
      'forward',
      'forward_transitive',
      'full',
      'full_transitive',
    ],
    {
      description: 'Rule that our subjects get; keep leaves to the registry what it has.',
      example: 'backward',
      default: 'keep',
    },
  ),
  incompatible: choice(['evolve', 'park'], {
    description:
      'What to do with a table whose new schema breaks the rule: evolve lifts the rule for its subject and says so, park holds that table back.',
    example: 'park',
    default: 'evolve',
  }),
  tables: z
    .record(
      z.string(),
      choice(['evolve', 'park'], {
        description:
          'In place of `incompatible` for the tables that the name is of: schema.table, * for any; the first one that fits counts.',
        example: 'park',
        default: 'evolve',
      }),
    )
    .default({}),
  timeout: duration({
    description: 'Longest wait for an answer.',
    example: '5 s',
    default: '10 s',
    min: '100 ms',
    max: '5 min',
  }),
  auth: registryAuthSchema.optional(),
  tls: tlsSchema.optional(),
});
