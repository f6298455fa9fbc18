import type { LocalBigQuery } from './local-bigquery.ts';

export type Row = readonly (string | null)[];

interface Answer {
  readonly rows?: readonly { readonly f: readonly { readonly v: unknown }[] }[];
  readonly jobReference?: { readonly jobId: string };
  readonly error?: { readonly message: string };
}

/** Runs a statement or script and gives its rows as the texts that the REST interface has for values. */
export async function runQuery(server: LocalBigQuery, query: string): Promise<readonly Row[]> {
  const { rows = [] } = await post(server, 'queries', { query, useLegacySql: false });
  return rows.map(({ f }) => f.map(({ v }) => (v === null ? null : textOf(v))));
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

/** Sends a request below the project; throws with the server's message. */
export async function post(server: LocalBigQuery, path: string, body: object): Promise<Answer> {
  const response = await fetch(`${server.url}/bigquery/v2/projects/${server.project}/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Answer;
  if (!response.ok) throw new Error(answer.error?.message ?? `HTTP ${response.status}`);
  return answer;
}
