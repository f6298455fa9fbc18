/** A BigQuery to send requests to: the emulator, or the service with a token. */
export interface BigQueryServer {
  readonly url: string;
  readonly project: string;
  /** "Bearer …"; the emulator asks for none. */
  readonly authorization?: () => Promise<string>;
}

export type BigQueryRow = readonly (string | null)[];

interface Answer {
  readonly rows?: readonly { readonly f: readonly { readonly v: unknown }[] }[];
  readonly jobComplete?: boolean;
  readonly pageToken?: string;
  readonly jobReference?: { readonly jobId: string; readonly location?: string };
  readonly status?: Status;
  readonly datasets?: readonly { readonly datasetReference: { readonly datasetId: string } }[];
  readonly nextPageToken?: string;
  readonly error?: { readonly message: string };
}

interface Status {
  readonly state: 'PENDING' | 'RUNNING' | 'DONE';
  readonly errorResult?: { readonly message: string };
}

const waitMsMax = 60_000;
const rowsPerPage = 10_000;

/** Runs a statement or script and gives its rows as the texts that the REST interface has for values. */
export async function runQuery(
  server: BigQueryServer,
  query: string,
): Promise<readonly BigQueryRow[]> {
  const first = await post(server, 'queries', {
    query,
    useLegacySql: false,
    timeoutMs: waitMsMax,
    maxResults: rowsPerPage,
    formatOptions: { useInt64Timestamp: true },
  });
  const rows = [...(first.rows ?? [])];
  const { jobId = '', location = '' } = first.jobReference ?? {};
  let page = first;
  while (page.jobComplete === false || page.pageToken !== undefined) {
    const given = new URLSearchParams({
      location,
      timeoutMs: String(waitMsMax),
      maxResults: String(rowsPerPage),
      'formatOptions.useInt64Timestamp': 'true',
      ...(page.pageToken === undefined ? {} : { pageToken: page.pageToken }),
    });
    page = await send(server, `projects/${server.project}/queries/${jobId}?${given.toString()}`);
    rows.push(...(page.rows ?? []));
  }
  return rows.map(({ f }) => f.map(({ v }) => (v === null ? null : textOf(v))));
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

/** Loads newline-delimited JSON into a table that exists. */
export async function loadRows(
  server: BigQueryServer,
  table: { readonly dataset: string; readonly name: string },
  rows: readonly object[],
): Promise<void> {
  const destinationTable = {
    projectId: server.project,
    datasetId: table.dataset,
    tableId: table.name,
  };
  const load = { destinationTable, sourceFormat: 'NEWLINE_DELIMITED_JSON' };
  const mark = 'tributary-rows';
  const part = (type: string, text: string) =>
    `--${mark}\r\ncontent-type: ${type}\r\n\r\n${text}\r\n`;
  const body = [
    part('application/json', JSON.stringify({ configuration: { load } })),
    part('application/octet-stream', rows.map((row) => JSON.stringify(row)).join('\n')),
    `--${mark}--`,
  ].join('');
  let job = await send(server, `projects/${server.project}/jobs?uploadType=multipart`, {
    method: 'POST',
    upload: true,
    type: `multipart/related; boundary=${mark}`,
    body,
  });
  const { jobId = '', location = '' } = job.jobReference ?? {};
  while (job.status?.state !== 'DONE') {
    job = await send(server, `projects/${server.project}/jobs/${jobId}?location=${location}`);
  }
  if (job.status.errorResult !== undefined) throw new Error(job.status.errorResult.message);
}

/** Sends a request below the project; throws with the server's message. */
export function post(server: BigQueryServer, path: string, body: object): Promise<Answer> {
  return send(server, `projects/${server.project}/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
  });
}

interface Request {
  readonly method: 'POST' | 'DELETE';
  readonly type?: string;
  readonly body?: string;
  readonly upload?: boolean;
}

export async function send(
  server: BigQueryServer,
  path: string,
  request?: Request,
): Promise<Answer> {
  const { method = 'GET', type = 'application/json', body, upload = false } = request ?? {};
  const authorization = await server.authorization?.();
  const response = await fetch(`${server.url}${upload ? '/upload' : ''}/bigquery/v2/${path}`, {
    method,
    headers: {
      ...(authorization === undefined ? {} : { authorization }),
      ...(body === undefined ? {} : { 'content-type': type }),
    },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  const answer = (text === '' ? {} : JSON.parse(text)) as Answer;
  if (!response.ok) throw new Error(answer.error?.message ?? `HTTP ${response.status}`);
  return answer;
}

/** As `runQuery`, with null as "null": what the models' reader of a lake takes. */
export async function textRows(
  server: BigQueryServer,
  query: string,
): Promise<readonly (readonly string[])[]> {
  return (await runQuery(server, query)).map((row) => row.map(String));
}
