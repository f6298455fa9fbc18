import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BigQuery } from '@google-cloud/bigquery';
import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { backoffDelayMs } from '../../runtime/retry.ts';
import { authClientOf } from './credentials.ts';
import { type ErrorProto, errorOfProto, reasonOf, translateBigqueryError } from './errors.ts';
import type { TextParameter } from './inline-rows.ts';
import { noUsage, type Usage } from './load-pace.ts';
import { MetadataPace } from './metadata-pace.ts';
import type { TableField } from './sql.ts';

export interface LakeOptions {
  readonly project: string;
  readonly dataset: string;
  /** "EU", "us-central1": where the dataset is. */
  readonly location?: string | undefined;
  /** Another address than the service's own: an emulator, which asks for no credentials. */
  readonly endpoint?: string | undefined;
  /** Of any kind that `authClientOf` takes; the machine's own credentials when left out. */
  readonly credentialsFile?: string | undefined;
  /** Of the key that new tables are encrypted with. */
  readonly kmsKey?: string | undefined;
  /** On every job, beside our own. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Told of each job that ended, also of one that failed. */
  readonly onJob?: ((job: JobReport) => void) | undefined;
}

/** A job that ended, and what it is billed for: loads are free of charge. */
export interface JobReport {
  readonly kind: 'load' | 'query';
  readonly isFailed: boolean;
  readonly bytesProcessed: number;
  readonly bytesBilled: number;
}

/** A row as REST has it: every value is text, or null. */
export type TextRow = readonly (string | null)[];

export interface NewTable {
  readonly name: string;
  readonly fields: readonly TableField[];
  readonly partitionBy?: string;
  readonly clusterBy?: readonly string[];
  readonly primaryKey?: readonly string[];
  /** Readers may see rows that are as old; rows that come by key are cheaper to read then. */
  readonly maxStalenessMinutes?: number;
  /** The table goes by itself after that. */
  readonly lifetimeMs?: number;
}

export interface LoadJob {
  /** Deterministic: a load that was sent twice runs once. */
  readonly jobId: string;
  readonly table: string;
  readonly fields: readonly TableField[];
  readonly rows: readonly object[];
}

interface JobStatistics {
  readonly totalBytesProcessed?: string;
  readonly query?: { readonly totalBytesBilled?: string };
}

interface Job {
  readonly statistics?: JobStatistics;
  readonly jobReference?: { readonly jobId?: string; readonly location?: string };
  readonly status?: { readonly state?: string; readonly errorResult?: ErrorProto };
}

interface Rows {
  readonly jobComplete?: boolean;
  readonly pageToken?: string;
  readonly rows?: readonly { readonly f: readonly { readonly v: unknown }[] }[];
}

export interface RestRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly uri: string;
  readonly json?: object;
  readonly qs?: Readonly<Record<string, string | number | boolean>>;
}

const waitMsMax = 10_000;
const rowsPerPage = 20_000;
/** A job that failed keeps its id: the next attempt has the next one, after a pause. */
const attemptsMax = 5;
const loadRetries = { firstDelayMs: 200, longestDelayMs: 10_000 };
/** What a job calls the key of what it writes. */
const ofDestination = 'destinationEncryptionConfiguration';
/** Between two looks at a job: at first short, as most are, then longer. */
const pollMsMin = 50;
const pollMsMax = 2_000;
const pollGrowth = 1.5;

/** A dataset and the client that reaches it. Errors come out translated; no value is ever rounded by the client. */
export class LakeConnection {
  readonly #options: LakeOptions;
  #connected: BigQuery | undefined;
  readonly #pace = new MetadataPace();
  #usage = noUsage;

  constructor(options: LakeOptions) {
    this.#options = options;
  }

  /** Made at the first use, whose failure tells what is wrong with the credentials. */
  get #client(): BigQuery {
    if (this.#connected !== undefined) return this.#connected;
    const { project, endpoint } = this.#options;
    const authClient = authClientOf(this.#options);
    this.#connected = new BigQuery({
      projectId: project,
      ...(authClient === undefined ? {} : { authClient }),
      ...(endpoint === undefined ? {} : { apiEndpoint: endpoint }),
    });
    return this.#connected;
  }

  get dataset(): string {
    return this.#options.dataset;
  }

  /** What its jobs have used so far. */
  get usage(): Usage {
    return this.#usage;
  }

  /** Runs a statement or script to its end; throws what it failed with. */
  async run(sql: string, parameters: readonly TextParameter[] = []): Promise<void> {
    await this.#finished(await this.#start(sql, parameters));
  }

  /** Runs a DDL statement on a table that exists when the quota of such changes allows it. */
  async alter(table: string, sql: string): Promise<void> {
    await this.#pace.wait(table);
    await this.run(sql);
  }

  /** All rows of a small result. */
  async rows(sql: string): Promise<readonly TextRow[]> {
    const rows: TextRow[] = [];
    for await (const page of this.pages(sql)) rows.push(...page);
    return rows;
  }

  /** What a query that only selects gives, of any size, page by page. */
  async *pages(sql: string): AsyncGenerator<readonly TextRow[], void, undefined> {
    // BigQuery keeps the result for a day; it takes a key for a select, not for DDL, DML or a script.
    const started = await this.#start(sql, [], this.#encryption(ofDestination));
    await this.#finished(started);
    const { jobId = '', location } = started.jobReference ?? {};
    let pageToken = '';
    do {
      const answer: Rows = await this.request<Rows>({
        method: 'GET',
        uri: `/queries/${jobId}`,
        qs: {
          maxResults: rowsPerPage,
          ...(location === undefined ? {} : { location }),
          ...(pageToken === '' ? {} : { pageToken }),
        },
      });
      yield (answer.rows ?? []).map(({ f }) => f.map(({ v }) => textOf(v)));
      ({ pageToken = '' } = answer);
    } while (pageToken !== '');
  }

  /** Makes a table unless it is there. */
  async createTable(table: NewTable): Promise<void> {
    const { partitionBy, clusterBy = [], primaryKey = [], lifetimeMs, maxStalenessMinutes } = table;
    const json = {
      tableReference: this.#reference(table.name),
      schema: { fields: table.fields },
      ...(partitionBy === undefined
        ? {}
        : { timePartitioning: { type: 'DAY', field: partitionBy } }),
      ...(clusterBy.length === 0 ? {} : { clustering: { fields: clusterBy } }),
      ...(primaryKey.length === 0
        ? {}
        : { tableConstraints: { primaryKey: { columns: primaryKey } } }),
      ...(maxStalenessMinutes === undefined
        ? {}
        : { maxStaleness: intervalText(maxStalenessMinutes) }),
      ...(lifetimeMs === undefined ? {} : { expirationTime: String(Date.now() + lifetimeMs) }),
      ...this.#encryption('encryptionConfiguration'),
    };
    const uri = `/datasets/${this.dataset}/tables`;
    await this.request({ method: 'POST', uri, json }).catch(unless('duplicate'));
  }

  /** `quoted`: as in a statement, `dataset`.`table`. */
  async hasTable(quoted: string): Promise<boolean> {
    const name = quoted.split('`').at(-2) ?? '';
    const uri = `/datasets/${this.dataset}/tables/${encodeURIComponent(name)}`;
    return await this.request({ method: 'GET', uri }).then(
      () => true,
      (error: unknown) => {
        if (reasonOf(error) === 'notFound') return false;
        throw error;
      },
    );
  }

  /** Drops a table if it is there. */
  async dropTable(name: string): Promise<void> {
    const uri = `/datasets/${this.dataset}/tables/${encodeURIComponent(name)}`;
    await this.request({ method: 'DELETE', uri }).catch(unless('notFound'));
  }

  /** SQL of a view as it was made; null if there is none. */
  async viewQuery(name: string): Promise<string | null> {
    const uri = `/datasets/${this.dataset}/tables/${encodeURIComponent(name)}`;
    const found = this.request<{ view?: { query?: string } }>({ method: 'GET', uri });
    return await found.then(
      ({ view }) => view?.query ?? null,
      (error: unknown) => {
        if (reasonOf(error) === 'notFound') return null;
        throw error;
      },
    );
  }

  /** Adds rows to a table that exists, all or none. Sent again with the same id it runs no second time. */
  async load(job: LoadJob): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      const jobId = `${job.jobId}_${attempt}`;
      const { error } = await this.#loadOnce({ ...job, jobId });
      if (error === undefined) return;
      // Found under that id, but failed: the id is used up.
      if (attempt + 1 >= attemptsMax || error.policy.retry === 'never') throw error;
      await sleep(backoffDelayMs(attempt, loadRetries));
    }
  }

  /** Gives the error that the job itself ended with; throws when there is no such job. */
  async #loadOnce(job: LoadJob): Promise<{ readonly error?: PipelineError }> {
    this.#usage = { ...this.#usage, loads: this.#usage.loads + 1 };
    const started = await this.#upload(job).catch((error: unknown) =>
      this.#jobBehind(job.jobId, error),
    );
    return await this.#finished(started).then(
      () => ({}),
      (error: unknown) => {
        if (error instanceof PipelineError) return { error };
        throw error;
      },
    );
  }

  /**
   * The job that a request made although it failed: the library sends again what got no answer, and an
   * answer may be lost for good while the job is at work. Throws the error when there is none.
   */
  async #jobBehind(jobId: string, error: unknown): Promise<Job> {
    const { location } = this.#options;
    const place = location === undefined ? {} : { location };
    if (reasonOf(error) === 'duplicate') {
      return { jobReference: { jobId, ...place } };
    }
    const found = this.request<Job>({ method: 'GET', uri: `/jobs/${jobId}`, qs: place });
    return await found.catch(() => {
      throw error;
    });
  }

  async #upload({ jobId, table, fields, rows }: LoadJob): Promise<Job> {
    const { promise, resolve, reject } = Promise.withResolvers<Job>();
    const stream = this.#client
      .dataset(this.dataset)
      .table(table)
      .createWriteStream({
        jobId,
        sourceFormat: 'NEWLINE_DELIMITED_JSON',
        schema: { fields: [...fields] },
        createDisposition: 'CREATE_NEVER',
        writeDisposition: 'WRITE_APPEND',
        labels: this.#labels(),
        ...(this.#options.location === undefined ? {} : { location: this.#options.location }),
        ...this.#encryption(ofDestination),
      } as Parameters<ReturnType<BigQuery['dataset']>['table']>[0] & object);
    stream.on('error', (error: unknown) => reject(this.#translated(error)));
    stream.on('job', (job: { metadata?: Job }) => resolve(job.metadata ?? {}));
    stream.end(rows.map((row) => JSON.stringify(row)).join('\n'));
    return await promise;
  }

  async #start(
    sql: string,
    parameters: readonly TextParameter[] = [],
    encryption: object = {},
  ): Promise<Job> {
    const { location } = this.#options;
    const jobId = `tributary_${randomUUID()}`;
    const reference = {
      projectId: this.#options.project,
      jobId,
      ...(location === undefined ? {} : { location }),
    };
    const given = parameters.map(({ name, value }) => {
      return { name, parameterType: { type: 'STRING' }, parameterValue: { value } };
    });
    const named = given.length === 0 ? {} : { parameterMode: 'NAMED', queryParameters: given };
    const query = { query: sql, useLegacySql: false, ...named, ...encryption };
    const configuration = { query, labels: this.#labels() };
    const json = { jobReference: reference, configuration };
    return await this.request<Job>({ method: 'POST', uri: '/jobs', json }).catch((error: unknown) =>
      this.#jobBehind(jobId, error),
    );
  }

  /** Waits for a job's end. A DONE job may have failed: only `errorResult` tells. */
  async #finished(started: Job): Promise<void> {
    const { jobId, location } = started.jobReference ?? {};
    assert(jobId, 'a job has an id');
    let job = started;
    const isQuery = jobId.startsWith('tributary_') && !jobId.startsWith('tributary_load_');
    let pollMs = pollMsMin;
    while (job.status?.state !== 'DONE') {
      const place = location === undefined ? {} : { location };
      if (isQuery) {
        const qs = { timeoutMs: waitMsMax, maxResults: 0, ...place };
        await this.request<Rows>({ method: 'GET', uri: `/queries/${jobId}`, qs });
      }
      job = await this.request<Job>({ method: 'GET', uri: `/jobs/${jobId}`, qs: place });
      if (isQuery || job.status?.state === 'DONE') continue;
      await sleep(pollMs);
      pollMs = Math.min(pollMsMax, pollMs * pollGrowth);
    }
    const { errorResult } = job.status;
    const kind = isQuery ? 'query' : 'load';
    this.#count({ kind, isFailed: errorResult !== undefined }, job.statistics);
    if (errorResult !== undefined) throw errorOfProto(errorResult, this.#options);
  }

  #count(
    ended: Pick<JobReport, 'kind' | 'isFailed'>,
    { query, totalBytesProcessed = '0' }: JobStatistics = {},
  ): void {
    const bytesProcessed = query === undefined ? 0 : Number(totalBytesProcessed);
    const bytesBilled = Number(query?.totalBytesBilled ?? 0);
    const before = this.#usage;
    this.#usage = {
      loads: before.loads,
      bytesProcessed: before.bytesProcessed + bytesProcessed,
      bytesBilled: before.bytesBilled + bytesBilled,
    };
    this.#options.onJob?.({ ...ended, bytesProcessed, bytesBilled });
  }

  #reference(table: string) {
    return { projectId: this.#options.project, datasetId: this.dataset, tableId: table };
  }

  #labels(): Record<string, string> {
    return { ...this.#options.labels, 'made-by': 'tributary' };
  }

  #encryption(name: string): object {
    const { kmsKey } = this.#options;
    return kmsKey === undefined ? {} : { [name]: { kmsKeyName: kmsKey } };
  }

  /** Asks the REST interface; `uri` is of the project. Throws what it refuses, translated. */
  async request<T>(request: RestRequest): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#client.request(request, (error, body) => {
      if (error === null || error === undefined) resolve(body as T);
      else reject(this.#translated(error));
    });
    return await promise;
  }

  #translated(error: unknown): Error {
    const translated = translateBigqueryError(error, this.#options);
    return translated instanceof Error ? translated : new Error(String(translated));
  }
}

/** Years, months, days and time, as REST has an INTERVAL. */
const intervalText = (minutes: number): string =>
  `0-0 0 ${Math.floor(minutes / 60)}:${minutes % 60}:0`;

const textOf = (value: unknown): string | null => {
  if (value === null || value === undefined) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
};

const unless = (reason: string) => (error: unknown) => {
  if (reasonOf(error) !== reason) throw error;
};
