import { z } from 'zod';
import {
  choice,
  defaultedPath,
  defaultedText,
  duration,
  flag,
  optionalCount,
  optionalText,
  size,
  text,
  textList,
} from './fields.ts';
import {
  confluentRegistrySchema,
  embeddedLogSchema,
  embeddedRegistrySchema,
  kafkaLogSchema,
} from './log-fields.ts';
import { bigquerySinkSchema, duckdbSinkSchema, tablePatternProblem } from './sink-fields.ts';

/** What is wrong with the address of the source, without a word of it; undefined when it can be tried. */
export const postgresUrlProblem = (url: string): string | undefined =>
  /^postgres(ql)?:\/\//.test(url) && URL.canParse(url)
    ? undefined
    : 'is not a PostgreSQL URL; write it like postgres://user@host:5432/database, / ? # @ in a password as %2F %3F %23 %40';

const namePattern = /^[a-z_][a-z0-9_]*$/;
const slotProblem = (name: string): string | undefined =>
  namePattern.test(name) && name.length <= 63
    ? undefined
    : `"${name}" is not a slot name; use at most 63 of a-z, 0-9 and _`;

const sourceSchema = z.strictObject({
  url: optionalText({
    description:
      'The database, read with this role. A password only as ${ENV} or in a file, unless the host is this machine.',
    unit: 'URL',
    example: '${DATABASE_URL}',
    problem: postgresUrlProblem,
  }),
  url_file: optionalText({
    description: 'File whose first line is the URL, in place of `url`.',
    unit: 'path',
    example: '/run/secrets/database-url',
  }),
  password_file: optionalText({
    description: 'File whose first line is the password of the role in the URL.',
    unit: 'path',
    example: '/run/secrets/database-password',
  }),
  slot: defaultedText({
    description: 'Replication slot; capture creates it when it is missing.',
    example: 'tributary',
    default: 'tributary',
    problem: slotProblem,
    limit: '63 characters',
  }),
  publication: defaultedText({
    description: 'Publication that names the tables to stream.',
    example: 'tributary',
    default: 'tributary',
    problem: (name) => (name === '' ? 'is empty' : undefined),
  }),
  tables: textList({
    description:
      'Tables to capture, of those published: schema.table, * for any, ! before it to leave out.',
    example: '["public.*", "!public.scratch_*"]',
    default: ['public.*'],
    problem: tablePatternProblem,
  }),
});

const modelsSchema = z.strictObject({
  sink: text({
    description: 'Name of the sink whose lake the models are built in.',
    example: 'lake',
  }),
  every: duration({
    description: 'Pause between two builds under `run`.',
    example: '60 s',
    default: '60 s',
    min: '5 s',
    max: '7 d',
  }),
  mapping: defaultedPath({
    description:
      'What the tables mean: masters, events, roles; written by `init`, yours to correct.',
    example: './mapping.yaml',
    default: './mapping.yaml',
  }),
});

const captureSchema = z.strictObject({
  batch: z
    .strictObject({
      size: size({
        description: 'A batch is written to the log at this size.',
        example: '1 MiB',
        default: '512 KiB',
        min: '16 KiB',
        max: '64 MiB',
      }),
      age: duration({
        description: 'No change waits longer for its batch to be written.',
        example: '50 ms',
        default: '20 ms',
        min: '1 ms',
        max: '10 s',
      }),
    })
    .prefault({}),
  pending: size({
    description: 'Written but not yet durable; above it reading from PostgreSQL waits.',
    example: '64 MiB',
    default: '4 MiB',
    min: '1 MiB',
    max: '4 GiB',
  }),
  watermark: z
    .strictObject({
      busy: duration({
        description: 'Least pause between watermarks under load; sinks cut their batches there.',
        example: '250 ms',
        default: '150 ms',
        min: '10 ms',
        max: '10 s',
      }),
      idle: duration({
        description: 'Least pause between watermarks while nothing changes.',
        example: '5 s',
        default: '2 s',
        min: '100 ms',
        max: '1 min',
      }),
    })
    .prefault({}),
  transaction_topic: flag({
    description:
      'Write a record for the begin and the end of every transaction to <prefix>.transaction, as Debezium does.',
    default: false,
  }),
  spool: defaultedPath({
    description: 'Folder for transactions in progress; emptied at the start.',
    example: './data/spool',
    default: './data/spool',
  }),
});

const retrySchema = z.strictObject({
  first: duration({
    description:
      'Pause before the first new try after a passing failure; it doubles from try to try.',
    example: '500 ms',
    default: '250 ms',
    min: '1 ms',
    max: '1 min',
  }),
  longest: duration({
    description: 'The pause grows no longer than this.',
    example: '1 min',
    default: '30 s',
    min: '1 ms',
    max: '1 h',
  }),
  during: duration({
    description: 'A failure that lasts longer ends the process, with the exit code of its kind.',
    example: '1 h',
    default: '10 min',
    min: '0 s',
    max: '365 d',
  }),
});

const metricsSchema = z.strictObject({
  port: optionalCount({
    description:
      'Serve /metrics and /healthz on this port of 127.0.0.1; under `run` capture has it and the sinks the ones after it.',
    example: '9464',
    min: '1',
    max: '65500',
  }),
});

const loggingSchema = z.strictObject({
  level: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    description: 'The least important line that is written.',
    example: 'debug',
    default: 'info',
  }),
  format: choice(['auto', 'pretty', 'json'], {
    description:
      'Lines for people, or one JSON object a line; auto looks whether a terminal listens.',
    example: 'json',
    default: 'auto',
  }),
});

/** `tributary.yaml`. Sizes come out in bytes, times in milliseconds. */
export const configSchema = z.strictObject({
  source: sourceSchema,
  log: z.discriminatedUnion('type', [embeddedLogSchema, kafkaLogSchema]),
  registry: z
    .discriminatedUnion('type', [embeddedRegistrySchema, confluentRegistrySchema])
    .default({ type: 'embedded' }),
  sinks: z
    .record(z.string(), z.discriminatedUnion('type', [duckdbSinkSchema, bigquerySinkSchema]))
    .default({}),
  models: modelsSchema.optional(),
  capture: captureSchema.prefault({}),
  retry: retrySchema.prefault({}),
  metrics: metricsSchema.prefault({}),
  logging: loggingSchema.prefault({}),
});

/** What each block is for: the headings of the reference. */
export const blockNotes = {
  source: 'The PostgreSQL database whose changes are captured.',
  log: 'Where changes are kept, in order, between the source and the sinks.',
  registry: 'Where the Avro schemas of the records are kept.',
  sinks: 'The lakes to load, each under a name of your own.',
  models: 'Lineage and feature tables, built by dbt in one of the lakes.',
  capture: 'Limits of the capture process.',
  retry: 'Passing failures: an unreachable server, a full disk, a locked file.',
  metrics: 'Figures for Prometheus.',
  logging: 'What the processes write about themselves.',
} as const satisfies Record<keyof z.output<typeof configSchema>, string>;

export type ParsedConfig = z.output<typeof configSchema>;
