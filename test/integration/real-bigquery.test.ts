import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeCost, lacksRealBigQuery, startRealBigQuery } from '../support/real-bigquery.ts';

// What the helper of the third run asks of the service, on a server that notes it down.

interface Asked {
  readonly request: string;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

let server: Server;
let url: string;
let asked: Asked[];
let present: string[];
const env = { TRIBUTARY_BIGQUERY_PROJECT: 'shop', TRIBUTARY_BIGQUERY_TOKEN: 'secret' };
const usage = { statements: 500, tablesPerStatement: 3 };

beforeEach(async () => {
  asked = [];
  present = ['lake', 'tributary_test_of_another'];
  server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readText(request);
  const { authorization } = request.headers;
  const line = `${request.method} ${request.url?.replace('/bigquery/v2/projects/shop/', '')}`;
  asked.push({ request: line, authorization, body: body === '' ? null : JSON.parse(body) });
  const datasets = present.map((datasetId) => ({ datasetReference: { datasetId } }));
  response.setHeader('content-type', 'application/json');
  response.end(request.method === 'GET' ? JSON.stringify({ datasets }) : '');
}

afterEach(async () => {
  server.close();
  await once(server, 'close');
});

test('without a project the service is left alone, by name', () => {
  expect(lacksRealBigQuery({})).toMatch('TRIBUTARY_BIGQUERY_PROJECT');
  expect(lacksRealBigQuery(env)).toBeNull();
});

test('what a run costs at most is said before anything is asked of the service', async () => {
  const said: string[] = [];
  const say = (text: string) => said.push(`${text} [${asked.length} asked]`);
  await using made = await startRealBigQuery({ usage, env, url, say });
  expect(said).toEqual([
    `BigQuery project shop, dataset ${made.dataset} in EU: about 500 statements, 14.6 GiB billed: $0.09 at most, nothing within the month's free TiB [0 asked]`,
  ]);
  expect(describeCost({ statements: 1024 ** 2, tablesPerStatement: 0.1 })).toContain('$6.25');
});

test('a dataset of its own is made, whose tables do not outlive a day even when the run is killed', async () => {
  await using made = await startRealBigQuery({ usage, env, url, say: () => {} });
  expect(made.dataset).toMatch(/^tributary_test_[a-z0-9]+_[0-9a-f]{6}$/);
  expect(made).toMatchObject({ project: 'shop', location: 'EU', endpoint: undefined });
  const [create] = asked;
  expect(create).toMatchObject({
    request: 'POST datasets',
    authorization: 'Bearer secret',
    body: { datasetReference: { projectId: 'shop', datasetId: made.dataset }, location: 'EU' },
  });
  const { defaultTableExpirationMs } = create!.body as { defaultTableExpirationMs: string };
  expect(Number(defaultTableExpirationMs)).toBeLessThanOrEqual(24 * 3_600_000);
});

test('in the end it is dropped with the datasets that were made beside it, and no other', async () => {
  const made = await startRealBigQuery({ usage, env, url, say: () => {} });
  present.push(made.dataset, `${made.dataset}_models`);
  await made[Symbol.asyncDispose]();
  expect(asked.slice(1).map(({ request }) => request)).toEqual([
    'GET datasets?maxResults=1000',
    `DELETE datasets/${made.dataset}?deleteContents=true`,
    `DELETE datasets/${made.dataset}_models?deleteContents=true`,
  ]);
});
