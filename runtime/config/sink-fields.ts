import { z } from 'zod';
import {
  choice,
  constant,
  count,
  duration,
  flag,
  optionalChoice,
  optionalDuration,
  optionalPath,
  optionalSize,
  optionalText,
  path,
  size,
  text,
  textList,
  textMap,
} from './fields.ts';

/** Gives the problem with a pattern such as "public.*". */
export const tablePatternProblem = (pattern: string): string | undefined =>
  /^!?[^.\s]+\.[^.\s]+$/.test(pattern)
    ? undefined
    : `"${pattern}" does not name tables; write schema.table, with * for any, ! before it to leave out`;

const tables = textList({
  description: 'Tables to load, of those captured.',
  example: '["public.service_*"]',
  default: ['*.*'],
  problem: tablePatternProblem,
});

const batch = z
  .strictObject({
    size: size({
      description: 'A batch ends at the last watermark before this much of the log.',
      example: '128 MiB',
      default: '64 MiB',
      min: '64 KiB',
      max: '4 GiB',
    }),
    rows: count({
      description: 'A batch ends at the last watermark before so many changes.',
      example: '500000',
      default: '200000',
      min: '1',
      max: '10000000',
    }),
  })
  .prefault({});

export const duckdbSinkSchema = z.strictObject({
  type: constant('duckdb', 'A DuckDB file.'),
  path: path({ description: 'The lake file.', example: './data/lake.duckdb' }),
  tables,
  memory: size({
    description: 'Memory that the engine may use.',
    example: '2 GiB',
    default: '1 GiB',
    min: '128 MiB',
    max: '1 TiB',
  }),
  batch,
});

/** A problem unless the whole text has the form. */
const formed =
  (form: RegExp, wanted: string) =>
  (given: string): string | undefined =>
    form.test(given) ? undefined : `"${given}" is not ${wanted}`;

/** https://cloud.google.com/bigquery/docs/labels-intro#requirements */
const labelForm = /^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$/u;

/** Gives the problem with a pattern such as "public.orders.*". */
const columnPatternProblem = (pattern: string): string | undefined =>
  /^[^.\s!]+\.[^.\s]+\.[^.\s]+$/.test(pattern)
    ? undefined
    : `"${pattern}" does not name columns; write schema.table.column, with * for any`;

const override = z
  .strictObject({
    column: text({
      description:
        'Columns that this is for: schema.table.column, * for any. Of those that match a column the last one that sets something decides; `check` tells of one that matches none.',
      example: 'public.orders.payload',
      problem: columnPatternProblem,
    }),
    json: optionalChoice(['string', 'json'], {
      description: 'As columns.json, of these columns.',
      example: 'json',
    }),
    unfit: optionalChoice(['exact_text', 'dead_letter'], {
      description: 'As columns.unfit, of these columns.',
      example: 'dead_letter',
    }),
  })
  .refine(({ json, unfit }) => json !== undefined || unfit !== undefined, {
    message: 'sets nothing; give json or unfit',
  });

const columns = z
  .strictObject({
    json: choice(['string', 'json'], {
      description:
        'Type of json and jsonb columns: STRING with the text, or JSON, which forgets spaces, the order of keys and the spelling of numbers: a text that would not come back stands in _cdc_exact as well. Keys stay STRING. Fixed once a table is loaded.',
      example: 'json',
      default: 'string',
    }),
    unfit: choice(['exact_text', 'dead_letter'], {
      description:
        'What becomes of a value that its column cannot hold: an infinite date, NaN in a NUMERIC, a document that JSON would round, cut or refuse. exact_text: NULL there, the text in _cdc_exact. dead_letter: its change goes to _tributary_dead_letters and into no table. The row stays as it was (it goes where it has no key, or leaves its old one) until a change brings all of its columns or deletes it; changes that leave unchanged columns out become dead letters too, so no row mixes two times. `verify` tells the difference. Deletes, and constants for rows that exist, take exact text.',
      example: 'dead_letter',
      default: 'exact_text',
    }),
    overrides: z.array(override).default([]),
  })
  .prefault({});

export const bigquerySinkSchema = z.strictObject({
  type: constant('bigquery', 'A dataset of BigQuery.'),
  project: text({
    description: 'Project that jobs run in and are billed to.',
    example: '${GCP_PROJECT}',
    problem: formed(/^[a-z][a-z0-9.:-]{2,98}[a-z0-9]$/, 'a project id; write it like my-project-1'),
  }),
  dataset: text({
    description: 'Dataset that everything goes into; it must exist.',
    example: 'app',
    problem: formed(/^\w{1,1024}$/, 'a dataset; use A-Z, a-z, 0-9 and _, without the project'),
  }),
  location: optionalText({
    description: 'Where the dataset is; BigQuery finds it out when left out.',
    example: 'EU',
    problem: formed(/^[A-Za-z][A-Za-z0-9-]+$/, 'a location; write it like EU or us-central1'),
  }),
  mode: choice(['batch', 'stream', 'bigquery-cdc'], {
    description:
      'batch: load jobs and one transaction a cut; stream: changes by Storage Write as they come, state as batch; bigquery-cdc: state by native upserts.',
    example: 'stream',
    default: 'batch',
  }),
  history: flag({
    description: 'Mode bigquery-cdc: also keep every change in T__changes, which the models need.',
    default: true,
  }),
  staleness: optionalDuration({
    description:
      'Mode bigquery-cdc: rows may be read as old as this, which costs less; without it every reader merges what is new.',
    example: '15 min',
    min: '1 min',
    max: '1 d',
  }),
  credentials_file: optionalPath({
    description:
      'Key or federation file of a service account; the credentials of the machine when left out.',
    example: '/run/secrets/bigquery.json',
  }),
  endpoint: optionalText({
    description:
      'Another address than the one of the service: an emulator, asked without credentials.',
    unit: 'URL',
    example: 'http://localhost:9050',
    problem: (url) =>
      /^https?:\/\//.test(url) && URL.canParse(url)
        ? undefined
        : `"${url}" is not an address; write it like http://localhost:9050`,
  }),
  storage_endpoint: optionalText({
    description: 'As endpoint, of the Storage Write API.',
    unit: 'host:port',
    example: 'localhost:9060',
    problem: formed(/^[^\s/:]+:\d{1,5}$/, 'an address; write host:port'),
  }),
  kms_key: optionalText({
    description: 'Key of Cloud KMS that new tables and what jobs write are encrypted with.',
    example: 'projects/p/locations/eu/keyRings/r/cryptoKeys/k',
    problem: formed(
      /^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+$/,
      'a key; write projects/P/locations/L/keyRings/R/cryptoKeys/K',
    ),
  }),
  labels: textMap({
    description: 'Labels of every job, for the bill.',
    example: '{ team: data }',
    problem: (key, value) =>
      /^\p{Ll}/u.test(key) && labelForm.test(key) && labelForm.test(value)
        ? undefined
        : `"${key}: ${value}" is not a label; use at most 63 lower-case letters, digits, - and _`,
  }),
  shares: count({
    description:
      'Sets that the tables are divided into, each with transactions and a worker of its own; fixed once the lake is loaded. More than 47 tables need more than one.',
    example: '2',
    default: '1',
    min: '1',
    max: '64',
  }),
  tables,
  columns,
  batch,
  spacing: z
    .strictObject({
      least: duration({
        description: 'Batches wait for one another at least so long: fewer, larger ones cost less.',
        example: '10 s',
        default: '1 s',
        min: '0 s',
        max: '1 h',
      }),
      longest: duration({
        description: 'They wait no longer for the budget.',
        example: '1 h',
        default: '10 min',
        min: '1 s',
        max: '1 d',
      }),
    })
    .prefault({}),
  budget: optionalSize({
    description:
      'Bytes that merges may scan in an hour; batches wait for one another to keep to it.',
    example: '50 GiB',
    min: '10 MiB',
    max: '1024 TiB',
  }),
});
