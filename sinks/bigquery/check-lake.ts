import { randomUUID } from 'node:crypto';
import { PipelineError } from '../../runtime/errors.ts';
import { LakeConnection } from './client.ts';
import { reasonOf } from './errors.ts';
import { sinkPermissions } from './permissions.ts';
import type { WriteOptions } from './sink-parts.ts';
import { quoteName, relation } from './sql.ts';
import { openWriteStreams } from './write-streams.ts';

/** One thing that stands in the way of loading. */
export interface LakeFinding {
  readonly severity: 'error' | 'warning';
  readonly what: string;
  readonly why: string;
  /** What mends it; null when no statement does. */
  readonly sql: string | null;
}

/** The table that is written to goes by itself if it cannot be dropped. */
const probeLifetimeMs = 3_600_000;

/**
 * Tries what the sink does: reads the dataset, makes a table for a moment, asks which permissions are granted on
 * it, and writes no rows to it in the way of the mode. Throws nothing of BigQuery's: that is a finding.
 */
export async function checkLake(options: WriteOptions): Promise<readonly LakeFinding[]> {
  const lake = new LakeConnection(options);
  const place = await found(() => checkPlace(lake, options));
  if (place.length > 0) return place;
  const table = `_tributary_check_${randomUUID().replaceAll('-', '')}`;
  const fields = [{ name: 'probe', type: 'STRING' }];
  const made = await found(async () => {
    await lake.createTable({ name: table, fields, lifetimeMs: probeLifetimeMs });
    return [];
  });
  if (made.length > 0) return made;
  try {
    return [
      ...(await found(() => checkPermissions(lake, table, options))),
      ...(await found(() => writeNothing(lake, table, options))),
    ];
  } finally {
    await lake.dropTable(table).catch(() => undefined);
  }
}

async function checkPlace(
  lake: LakeConnection,
  { dataset, location, kmsKey }: WriteOptions,
): Promise<readonly LakeFinding[]> {
  interface Dataset {
    readonly location?: string;
    readonly defaultEncryptionConfiguration?: { readonly kmsKeyName?: string };
  }
  const uri = `/datasets/${dataset}`;
  const stored = await lake.request<Dataset>({ method: 'GET', uri }).catch((error: unknown) => {
    if (reasonOf(error) === 'notFound') return null;
    throw error;
  });
  if (stored === null) {
    const options = [
      ...(location === undefined ? [] : [`location = '${location}'`]),
      ...(kmsKey === undefined ? [] : [`default_kms_key_name = '${kmsKey}'`]),
    ];
    const more = options.length === 0 ? '' : ` options (${options.join(', ')})`;
    return [
      {
        severity: 'error',
        what: `there is no dataset ${dataset}`,
        why: 'the sink makes tables, never a dataset: where it is and who may read it is yours to decide',
        sql: `create schema ${quoteName(dataset)}${more};`,
      },
    ];
  }
  const { location: actual } = stored;
  if (location === undefined || actual?.toUpperCase() === location.toUpperCase()) return [];
  return [
    {
      severity: 'error',
      what: `dataset ${dataset} is in ${actual}, not in ${location}`,
      why: `jobs that are sent to ${location} do not find it: set location: ${actual}`,
      sql: null,
    },
  ];
}

async function checkPermissions(
  lake: LakeConnection,
  table: string,
  { dataset, mode = 'batch' }: WriteOptions,
): Promise<readonly LakeFinding[]> {
  // Those on a table; to have read the dataset and made the table proves the others.
  const ofDataset = new Set([
    'bigquery.datasets.get',
    'bigquery.tables.create',
    'bigquery.tables.list',
  ]);
  const wanted = sinkPermissions[mode].dataset.filter((one) => !ofDataset.has(one));
  const { permissions: granted = [] } = await lake.request<{ permissions?: readonly string[] }>({
    method: 'POST',
    uri: `/datasets/${dataset}/tables/${table}:testIamPermissions`,
    json: { permissions: wanted },
  });
  const missing = wanted.filter((one) => !granted.includes(one));
  if (missing.length === 0) return [];
  return [
    {
      severity: 'error',
      what: `the account lacks ${missing.join(', ')} on dataset ${dataset}`,
      why: `mode ${mode} cannot load without; deploy/terraform has a role with all that it needs`,
      sql: null,
    },
  ];
}

/** Runs a job as the sink does, and opens a stream where the mode has streams. */
async function writeNothing(
  lake: LakeConnection,
  table: string,
  options: WriteOptions,
): Promise<readonly LakeFinding[]> {
  await lake.run(/* sql */ `
    insert into ${relation(options.dataset, table)} (probe) select '' from unnest([1]) where false`);
  if ((options.mode ?? 'batch') === 'batch') return [];
  const writes = openWriteStreams(options);
  try {
    await writes.finalize(await writes.create(table));
  } finally {
    await writes.close();
  }
  return [];
}

/** What BigQuery refuses is a finding. */
async function found(look: () => Promise<readonly LakeFinding[]>): Promise<readonly LakeFinding[]> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return [{ severity: 'error', what: error.message, why: error.hint, sql: null }];
  }
}
