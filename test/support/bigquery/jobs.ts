import { randomUUID } from 'node:crypto';
import type { Faults, Fault, Quotas } from './faults.ts';
import { type LoadConfig, loadRows } from './load-rows.ts';
import { parameterSql, type QueryParameter } from './query-parameters.ts';
import { type ErrorProto, ServiceError } from './service-error.ts';
import type { QueryResult } from './sql/query-result.ts';
import { planScript, runScript, type ScriptOutcome } from './sql/run-script.ts';
import type { Store } from './store.ts';

/** Characters of a query's text. https://cloud.google.com/bigquery/quotas#query_jobs */
const queryCharactersMax = 1024 * 1024;

interface QueryConfig {
  readonly query: string;
  readonly useLegacySql?: boolean;
  readonly defaultDataset?: { readonly datasetId: string };
  readonly queryParameters?: readonly QueryParameter[];
  readonly destinationTable?: object;
}

export interface JobConfig {
  readonly query?: QueryConfig;
  readonly load?: LoadConfig;
  readonly dryRun?: boolean;
}

export interface JobRequest {
  readonly projectId: string;
  readonly jobId: string | undefined;
  readonly location: string;
  readonly configuration: JobConfig;
  /** What an upload carries. */
  readonly content?: Buffer;
  readonly fault: Fault | undefined;
}

export interface Job {
  readonly projectId: string;
  readonly jobId: string;
  readonly location: string;
  readonly configuration: JobConfig;
  readonly createdMs: number;
  state: 'RUNNING' | 'DONE';
  error: ServiceError | undefined;
  outcome: ScriptOutcome | undefined;
  loaded: { readonly rows: number; readonly bytes: number } | undefined;
  readonly done: Promise<void>;
}

export interface JobTools {
  readonly faults: Faults;
  readonly quotas: Quotas | undefined;
  /** Called before each statement of a script. */
  readonly onStatement: (sql: string) => Promise<void>;
}

/** The jobs of all projects, which are never forgotten. */
export class Jobs {
  readonly #store: Store;
  readonly #tools: JobTools;
  readonly #jobs = new Map<string, Job>();
  readonly #requests = new Map<string, Job>();

  constructor(store: Store, tools: JobTools) {
    this.#store = store;
    this.#tools = tools;
  }

  /** Throws `notFound` also for a job of another location than is given. */
  get(projectId: string, jobId: string, location?: string): Job {
    const job = this.#jobs.get(`${projectId}:${jobId}`);
    if (
      job === undefined ||
      (location ?? job.location).toUpperCase() !== job.location.toUpperCase()
    )
      throw new ServiceError('notFound', `Not found: Job ${projectId}:${jobId}`);
    return job;
  }

  /** The job of a jobs.query request that is sent again: BigQuery does not run it twice. */
  sentBefore(requestId: string | undefined): Job | undefined {
    return requestId === undefined ? undefined : this.#requests.get(requestId);
  }

  remember(requestId: string, job: Job): void {
    this.#requests.set(requestId, job);
  }

  /** Starts a job. A second one of the same id throws `duplicate`. */
  insert(request: JobRequest): Job {
    const { configuration, content, fault, location, projectId } = request;
    const jobId = request.jobId ?? `job_${randomUUID()}`;
    const key = `${projectId}:${jobId}`;
    if (this.#jobs.has(key))
      throw new ServiceError('duplicate', `Already Exists: Job ${projectId}:${location}.${jobId}`);
    if (configuration.query === undefined && configuration.load === undefined) {
      throw new ServiceError(
        'notImplemented',
        'Only query and load jobs are supported by this stand-in',
      );
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const job: Job = {
      projectId,
      jobId,
      location,
      configuration,
      createdMs: this.#store.now(),
      state: 'RUNNING',
      error: undefined,
      outcome: undefined,
      loaded: undefined,
      done: promise,
    };
    if (configuration.dryRun !== true) this.#jobs.set(key, job);
    void this.#work(job, content, fault)
      .catch((error: unknown) => {
        job.error =
          error instanceof ServiceError ? error : new ServiceError('internalError', String(error));
      })
      .then(() => {
        job.state = 'DONE';
        resolve();
      });
    return job;
  }

  async #work(job: Job, content: Buffer | undefined, fault: Fault | undefined): Promise<void> {
    if (fault?.kind === 'hold-job') await fault.until;
    if (job.state === 'DONE') return;
    if (fault?.kind === 'job-error') throw faultError(fault.error);
    const { dryRun, load, query } = job.configuration;
    if (load !== undefined) {
      const { datasetId, projectId, tableId } = load.destinationTable;
      this.#tools.quotas?.load(`${projectId}.${datasetId}.${tableId}`);
      if (content === undefined)
        throw new ServiceError(
          'invalid',
          'Loads from Cloud Storage are not supported by this stand-in',
        );
      const rows = await loadRows(this.#store, load, content);
      job.loaded = { rows, bytes: content.length };
      return;
    }
    if (query === undefined) return;
    // REST's default is legacy SQL.
    if (query.useLegacySql !== false)
      throw new ServiceError('invalidQuery', 'Legacy SQL is not supported by this stand-in');
    if (query.query.length > queryCharactersMax)
      throw new ServiceError(
        'invalid',
        'The query is too large. The maximum standard SQL query length is 1024.00K characters, including comments and white space characters.',
      );
    if (query.destinationTable !== undefined)
      throw new ServiceError('invalidQuery', 'destinationTable is not supported by this stand-in');
    const run = dryRun === true ? planScript : runScript;
    job.outcome = await run(this.#store, {
      sql: query.query,
      projectId: job.projectId,
      datasetId: query.defaultDataset?.datasetId,
      parameters: parameterSql(query.queryParameters ?? []),
      onStatement: this.#tools.onStatement,
    });
  }

  cancel(job: Job): Job {
    if (job.state === 'RUNNING') {
      job.error = new ServiceError(
        'stopped',
        'Job execution was cancelled: User requested cancellation',
      );
      job.state = 'DONE';
    }
    return job;
  }
}

function faultError(proto: ErrorProto): ServiceError {
  return new ServiceError(proto.reason as ServiceError['reason'], proto.message, proto.location);
}

/** The result of a job's last query; scripts and DML without one give no columns. */
export const jobResult = (job: Job): QueryResult => job.outcome?.result ?? { fields: [], rows: [] };

/** A job as REST answers it. */
export function jobResource(job: Job): object {
  const { configuration, createdMs, error, jobId, loaded, location, outcome, projectId, state } =
    job;
  const { load, query } = configuration;
  const bytes = String(outcome?.bytes ?? 0);
  const statistics = {
    creationTime: String(createdMs),
    startTime: String(createdMs),
    ...(state === 'DONE' ? { endTime: String(createdMs) } : {}),
    totalBytesProcessed: bytes,
    ...(query === undefined
      ? {}
      : {
          query: {
            statementType: outcome?.statementType,
            totalBytesProcessed: bytes,
            totalBytesBilled: bytes,
            ...(outcome?.dmlRows === undefined
              ? {}
              : { numDmlAffectedRows: String(outcome.dmlRows) }),
          },
        }),
    ...(loaded === undefined
      ? {}
      : {
          load: {
            inputFiles: '1',
            inputFileBytes: String(loaded.bytes),
            outputRows: String(loaded.rows),
            outputBytes: String(loaded.bytes),
            badRecords: '0',
          },
        }),
  };
  return {
    kind: 'bigquery#job',
    id: `${projectId}:${location}.${jobId}`,
    jobReference: { projectId, jobId, location },
    configuration: { ...configuration, jobType: load === undefined ? 'QUERY' : 'LOAD' },
    status: {
      state,
      ...(error === undefined ? {} : { errorResult: error.proto(), errors: [error.proto()] }),
    },
    statistics,
  };
}
