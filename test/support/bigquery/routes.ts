import type { Fault, Quotas } from './faults.ts';
import { type Job, type JobConfig, jobResource, jobResult, type Jobs } from './jobs.ts';
import type { QueryParameter } from './query-parameters.ts';
import { ServiceError } from './service-error.ts';
import { resultRows } from './sql/query-result.ts';
import { duckdbName, type Store, type TableSettings } from './store.ts';
import { tableResource } from './table-resource.ts';
import { fieldResources, type FieldResource, readFields } from './table-schema.ts';

type Json = Readonly<Record<string, unknown>>;

export interface RestRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Json;
  readonly content?: Buffer;
  readonly fault: Fault | undefined;
  /** The etag that a change is meant for. */
  readonly ifMatch?: string;
}

export interface RestTools {
  readonly store: Store;
  readonly jobs: Jobs;
  readonly quotas: Quotas | undefined;
  /** Permissions that testIamPermissions denies. */
  readonly deniedPermissions: ReadonlySet<string>;
}

/** How long a request waits for its job, at most; then it answers that the job is not complete. */
const waitMsMax = 500;
const settingNames = [
  'timePartitioning',
  'rangePartitioning',
  'clustering',
  'labels',
  'description',
  'expirationTime',
  'tableConstraints',
  'requirePartitionFilter',
  'maxStaleness',
] as const;

const settingsOf = (body: Json): TableSettings =>
  Object.fromEntries(
    settingNames.flatMap((name) => (body[name] === undefined ? [] : [[name, body[name]]])),
  );
const fieldsOf = (body: Json): readonly FieldResource[] | undefined =>
  (body['schema'] as { fields?: readonly FieldResource[] } | undefined)?.fields;

type Route = (tools: RestTools, request: RestRequest, ids: readonly string[]) => unknown;

const dataset = ([projectId = '', datasetId = '']: readonly string[]) => ({ projectId, datasetId });
const table = ([projectId = '', datasetId = '', tableId = '']: readonly string[]) => ({
  projectId,
  datasetId,
  tableId,
});

function datasetAnswer({ store }: RestTools, ids: readonly string[]): object {
  const ref = dataset(ids);
  return {
    kind: 'bigquery#dataset',
    location: 'US',
    ...store.dataset(ref),
    datasetReference: ref,
    id: `${ref.projectId}:${ref.datasetId}`,
  };
}

async function insertTable(
  { quotas, store }: RestTools,
  { body }: RestRequest,
  ids: readonly string[],
): Promise<unknown> {
  const { tableId = '' } = (body['tableReference'] ?? {}) as { tableId?: string };
  const ref = { ...dataset(ids), tableId };
  quotas?.update(Object.values(ref).join('.'));
  if (body['view'] !== undefined)
    throw new ServiceError('notImplemented', 'Views are made by CREATE VIEW in this stand-in');
  await store.createTable(ref, {
    fields: readFields(fieldsOf(body) ?? []),
    settings: settingsOf(body),
  });
  return tableResource(store.table(ref));
}

async function changeTable(
  { quotas, store }: RestTools,
  { body, ifMatch, method }: RestRequest,
  ids: readonly string[],
): Promise<unknown> {
  const ref = table(ids);
  if (ifMatch !== undefined && ifMatch !== tableResource(store.table(ref))['etag'])
    throw new ServiceError('conditionNotMet', 'Precondition Failed');
  quotas?.update(ids.join('.'));
  const { settings } = store.table(ref);
  const fields = fieldsOf(body);
  if (fields !== undefined) await store.setFields(ref, fields);
  store.setSettings(
    ref,
    method === 'PATCH' ? { ...settings, ...settingsOf(body) } : settingsOf(body),
  );
  return tableResource(store.table(ref));
}

const isInt64Timestamp = (query: URLSearchParams): boolean =>
  query.get('formatOptions.useInt64Timestamp') === 'true';

async function listRows(
  { store }: RestTools,
  { query }: RestRequest,
  ids: readonly string[],
): Promise<unknown> {
  const ref = table(ids);
  const { fields } = store.table(ref);
  const start = Number(query.get('pageToken') ?? query.get('startIndex') ?? 0);
  const size = Number(query.get('maxResults') ?? 10_000);
  const connection = await store.connect();
  try {
    const count = await connection.runAndReadAll(`select count(*) from ${duckdbName(ref)}`);
    const total = Number(count.getRows()[0]?.[0] ?? 0);
    const read = await connection.runAndReadAll(
      `select * from ${duckdbName(ref)} limit ${size} offset ${start}`,
    );
    const rows = resultRows({ fields, rows: read.getRows() }, isInt64Timestamp(query));
    const end = start + rows.length;
    return {
      kind: 'bigquery#tableDataList',
      totalRows: String(total),
      rows,
      ...(end < total ? { pageToken: String(end) } : {}),
    };
  } finally {
    connection.closeSync();
  }
}

function insertJob(
  { jobs }: RestTools,
  { body, content, fault }: RestRequest,
  [projectId = '']: readonly string[],
): Job {
  const reference = (body['jobReference'] ?? {}) as { jobId?: string; location?: string };
  return jobs.insert({
    projectId,
    jobId: reference.jobId,
    location: reference.location ?? 'US',
    configuration: (body['configuration'] ?? {}) as JobConfig,
    ...(content === undefined ? {} : { content }),
    fault,
  });
}

async function isDone(job: Job, waitMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, Math.min(waitMs, waitMsMax));
  await Promise.race([job.done, promise]);
  clearTimeout(timer);
  return job.state === 'DONE';
}

async function queryAnswer(job: Job, query: URLSearchParams): Promise<unknown> {
  const { jobId, location, projectId } = job;
  const reference = { jobReference: { projectId, jobId, location } };
  if (!(await isDone(job, Number(query.get('timeoutMs') ?? waitMsMax))))
    return { ...reference, jobComplete: false };
  if (job.error !== undefined) throw job.error;
  const result = jobResult(job);
  const start = Number(query.get('pageToken') ?? query.get('startIndex') ?? 0);
  const end = Math.min(result.rows.length, start + Number(query.get('maxResults') ?? 10_000));
  const page = { fields: result.fields, rows: result.rows.slice(start, end) };
  const { bytes, dmlRows } = job.outcome ?? {};
  return {
    kind: 'bigquery#getQueryResultsResponse',
    ...reference,
    jobComplete: true,
    schema: { fields: fieldResources(result.fields) },
    totalRows: String(result.rows.length),
    totalBytesProcessed: String(bytes ?? 0),
    rows: resultRows(page, isInt64Timestamp(query)),
    ...(dmlRows === undefined ? {} : { numDmlAffectedRows: String(dmlRows) }),
    ...(end < result.rows.length ? { pageToken: String(end) } : {}),
  };
}

async function query(
  tools: RestTools,
  request: RestRequest,
  ids: readonly string[],
): Promise<unknown> {
  const { body, fault } = request;
  const given = body as {
    query: string;
    useLegacySql?: boolean;
    queryParameters?: readonly QueryParameter[];
    defaultDataset?: { datasetId: string };
    requestId?: string;
    dryRun?: boolean;
    maxResults?: number;
    formatOptions?: { useInt64Timestamp?: boolean };
  };
  const options = new URLSearchParams({
    'formatOptions.useInt64Timestamp': String(given.formatOptions?.useInt64Timestamp ?? false),
  });
  if (given.maxResults !== undefined) options.set('maxResults', String(given.maxResults));
  const jobRequest = {
    ...request,
    body: { configuration: { query: given, dryRun: given.dryRun } },
  };
  if (fault?.kind === 'errors-in-200') {
    const { error } = fault;
    const failed = insertJob(tools, { ...jobRequest, fault: { kind: 'job-error', error } }, ids);
    await failed.done;
    const { jobId, location, projectId } = failed;
    const jobReference = { projectId, jobId, location };
    return { jobReference, jobComplete: true, errors: [error], totalRows: '0', rows: [] };
  }
  const { requestId } = given;
  const job = tools.jobs.sentBefore(requestId) ?? insertJob(tools, jobRequest, ids);
  if (requestId !== undefined) tools.jobs.remember(requestId, job);
  return queryAnswer(job, options);
}

/** The job that a path names; in another location than it ran in, there is none. */
const jobOf = ({ jobs }: RestTools, { query }: RestRequest, ids: readonly string[]): Job =>
  jobs.get(ids[0] ?? '', ids[1] ?? '', query.get('location') ?? undefined);

/** One page of a list, in the parts that REST calls by these names. The token of the last one is empty (AIP-158). */
function pageOf<T>(
  items: readonly T[],
  query: URLSearchParams,
): { page: readonly T[]; nextPageToken: string } {
  const start = Number(query.get('pageToken') ?? 0);
  const end = start + Number(query.get('maxResults') ?? items.length);
  const page = items.slice(start, end);
  return { page, nextPageToken: end < items.length ? String(end) : '' };
}

async function jobAnswer(job: Job): Promise<unknown> {
  if (job.configuration.dryRun === true) await job.done;
  if (job.configuration.dryRun === true && job.error !== undefined) throw job.error;
  return jobResource(job);
}

const id = '([^/:]+)';
const project = `/bigquery/v2/projects/${id}`;
const routes: readonly (readonly [method: string, path: RegExp, route: Route])[] = (
  [
    [
      'POST',
      `${project}/datasets`,
      async (tools, { body }, ids) => {
        const { datasetId = '' } = (body['datasetReference'] ?? {}) as { datasetId?: string };
        await tools.store.createDataset({ projectId: ids[0] ?? '', datasetId }, body);
        return datasetAnswer(tools, [ids[0] ?? '', datasetId]);
      },
    ],
    [
      'GET',
      `${project}/datasets`,
      ({ store }, request, [projectId = '']) => {
        const { page, ...next } = pageOf(store.datasets(projectId), request.query);
        const datasets = page.map((datasetId) => ({
          id: `${projectId}:${datasetId}`,
          datasetReference: { projectId, datasetId },
        }));
        return { kind: 'bigquery#datasetList', datasets, ...next };
      },
    ],
    ['GET', `${project}/datasets/${id}`, (tools, _request, ids) => datasetAnswer(tools, ids)],
    [
      'PATCH',
      `${project}/datasets/${id}`,
      (tools, { body }, ids) => {
        tools.store.patchDataset(dataset(ids), body);
        return datasetAnswer(tools, ids);
      },
    ],
    [
      'DELETE',
      `${project}/datasets/${id}`,
      ({ store }, request, ids) =>
        store.deleteDataset(dataset(ids), request.query.get('deleteContents') === 'true'),
    ],
    [
      'GET',
      `${project}/datasets/${id}/tables`,
      ({ store }, request, ids) => {
        const all = store.tables(dataset(ids)).map(tableResource);
        const { page, ...next } = pageOf(all, request.query);
        return { kind: 'bigquery#tableList', tables: page, totalItems: all.length, ...next };
      },
    ],
    ['POST', `${project}/datasets/${id}/tables`, insertTable],
    [
      'GET',
      `${project}/datasets/${id}/tables/${id}`,
      async ({ store }, _request, ids) => tableResource(store.table(table(ids))),
    ],
    ['PATCH', `${project}/datasets/${id}/tables/${id}`, changeTable],
    ['PUT', `${project}/datasets/${id}/tables/${id}`, changeTable],
    [
      'DELETE',
      `${project}/datasets/${id}/tables/${id}`,
      ({ store }, _request, ids) => store.dropTable(store.table(table(ids)).ref),
    ],
    ['GET', `${project}/datasets/${id}/tables/${id}/data`, listRows],
    [
      'POST',
      `${project}/datasets/${id}/tables/${id}:testIamPermissions`,
      (tools, request, ids) => {
        tools.store.table(table(ids));
        return allowed(tools, request);
      },
    ],
    ['POST', `(?:/v[13])?/projects/${id}:testIamPermissions`, allowed],
    [
      'POST',
      `(?:/upload)?${project}/jobs`,
      (tools, request, ids) => jobAnswer(insertJob(tools, request, ids)),
    ],
    [
      'GET',
      `${project}/jobs/${id}`,
      (tools, request, ids) => jobAnswer(jobOf(tools, request, ids)),
    ],
    [
      'POST',
      `${project}/jobs/${id}/cancel`,
      (tools, request, ids) => ({
        kind: 'bigquery#jobCancelResponse',
        job: jobResource(tools.jobs.cancel(jobOf(tools, request, ids))),
      }),
    ],
    ['POST', `${project}/queries`, query],
    [
      'GET',
      `${project}/queries/${id}`,
      (tools, request, ids) => queryAnswer(jobOf(tools, request, ids), request.query),
    ],
  ] satisfies readonly (readonly [string, string, Route])[]
).map(([method, path, route]) => [method, new RegExp(`^${path}$`), route] as const);

function allowed({ deniedPermissions }: RestTools, { body }: RestRequest): object {
  const asked = (body['permissions'] ?? []) as readonly string[];
  return { permissions: asked.filter((permission) => !deniedPermissions.has(permission)) };
}

/** Answers a request of BigQuery's REST interface, version 2. Throws `ServiceError`. */
export async function answer(tools: RestTools, request: RestRequest): Promise<unknown> {
  for (const [method, path, route] of routes) {
    const match = method === request.method ? path.exec(request.path) : null;
    if (match !== null) return route(tools, request, match.slice(1).map(decodeURIComponent));
  }
  throw new ServiceError('notFound', `Not found: ${request.method} ${request.path}`);
}
