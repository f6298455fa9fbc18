import { randomBytes } from 'node:crypto';
import { runProcess } from '../../runtime/run-process.ts';
import type { BigQueryServer } from './local-bigquery/rest.ts';
import { send } from './local-bigquery/rest.ts';
import type { TestBigQuery } from './test-bigquery.ts';
import { createDataset } from './test-dataset.ts';

/*
 * The third run of the BigQuery tests, on the service itself, for who has a project: set
 * TRIBUTARY_BIGQUERY_PROJECT, and TRIBUTARY_BIGQUERY_LOCATION where it is not EU. The token is
 * TRIBUTARY_BIGQUERY_TOKEN, else what `gcloud auth application-default print-access-token` says.
 */

/** Tokens last an hour. */
const tokenLifetimeMs = 30 * 60_000;

/** Why the service cannot be tested on, or null. */
export function lacksRealBigQuery(env: NodeJS.ProcessEnv = process.env): string | null {
  return (env['TRIBUTARY_BIGQUERY_PROJECT'] ?? '') === ''
    ? 'TRIBUTARY_BIGQUERY_PROJECT is not set'
    : null;
}

/** What a run is about to ask of the service. */
export interface Usage {
  readonly statements: number;
  /** Tables that a statement reads or changes, on average. */
  readonly tablesPerStatement: number;
}

/** Every table of a statement counts with this much, however small it is. */
const bytesBilledMin = 10 * 1024 ** 2;
const tebibyte = 1024 ** 4;
/** On demand in US and EU; the first TiB of a month is free. https://cloud.google.com/bigquery/pricing */
const dollarsPerTebibyte = 6.25;

/** The most that a run of small tables costs, as a sentence. Loads and a day's storage cost nothing. */
export function describeCost({ statements, tablesPerStatement }: Usage): string {
  const bytes = statements * tablesPerStatement * bytesBilledMin;
  const dollars = (bytes / tebibyte) * dollarsPerTebibyte;
  const [size, price] = [(bytes / 1024 ** 3).toFixed(1), dollars.toFixed(2)];
  return `about ${statements} statements, ${size} GiB billed: $${price} at most, nothing within the month's free TiB`;
}

interface RealOptions {
  readonly usage: Usage;
  readonly env?: NodeJS.ProcessEnv;
  /** Where the service's REST interface begins. */
  readonly url?: string;
  readonly say?: (text: string) => void;
}

/**
 * Makes a dataset of its own on the service, after saying what the run costs at most; disposing drops it
 * and every dataset whose name begins with its name, with all that is in them.
 */
export async function startRealBigQuery(options: RealOptions): Promise<TestBigQuery> {
  const { usage, env = process.env, url = 'https://bigquery.googleapis.com' } = options;
  const say = options.say ?? ((text: string) => void process.stderr.write(`${text}\n`));
  const project = env['TRIBUTARY_BIGQUERY_PROJECT'] ?? '';
  const location = env['TRIBUTARY_BIGQUERY_LOCATION'] ?? 'EU';
  const server: BigQueryServer = { url, project, authorization: tokenSource(env) };
  const dataset = `tributary_test_${Date.now().toString(36)}_${randomBytes(3).toString('hex')}`;
  say(`BigQuery project ${project}, dataset ${dataset} in ${location}: ${describeCost(usage)}`);
  await createDataset(server, dataset, location);
  return {
    ...server,
    dataset,
    location,
    endpoint: undefined,
    grpcAddress: 'bigquerystorage.googleapis.com:443',
    [Symbol.asyncDispose]: () => dropDatasets(server, dataset),
  };
}

async function dropDatasets(server: BigQueryServer, prefix: string): Promise<void> {
  const home = `projects/${server.project}/datasets`;
  let pageToken = '';
  do {
    const page = pageToken === '' ? '' : `&pageToken=${pageToken}`;
    const answer = await send(server, `${home}?maxResults=1000${page}`);
    for (const { datasetReference } of answer.datasets ?? []) {
      if (!datasetReference.datasetId.startsWith(prefix)) continue;
      await send(server, `${home}/${datasetReference.datasetId}?deleteContents=true`, {
        method: 'DELETE',
      });
    }
    pageToken = answer.nextPageToken ?? '';
  } while (pageToken !== '');
}

function tokenSource(env: NodeJS.ProcessEnv): () => Promise<string> {
  let held: { readonly token: string; readonly until: number } | undefined;
  return async () => {
    const given = env['TRIBUTARY_BIGQUERY_TOKEN'];
    if (given !== undefined) return `Bearer ${given}`;
    if (held === undefined || held.until < Date.now()) {
      const words = ['auth', 'application-default', 'print-access-token'];
      const { exitCode, output } = await runProcess('gcloud', words, { env });
      if (exitCode !== 0) throw new Error('gcloud gave no token: set TRIBUTARY_BIGQUERY_TOKEN');
      held = { token: output.trim(), until: Date.now() + tokenLifetimeMs };
    }
    return `Bearer ${held.token}`;
  };
}
