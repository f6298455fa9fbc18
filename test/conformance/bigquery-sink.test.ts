import { afterAll } from 'vitest';
import { bigqueryHarness } from '../support/bigquery-harness.ts';
import { lacksLocalBigQuery } from '../support/local-bigquery/environment.ts';
import { startLocalBigQuery } from '../support/local-bigquery/local-bigquery.ts';
import { runSinkSuite } from './sink-suite.ts';

const reason = await lacksLocalBigQuery();
const server = reason === null ? await startLocalBigQuery() : null;
afterAll(() => server?.[Symbol.asyncDispose]());

runSinkSuite({
  name: `bigquery on ${reason ?? 'local-bigquery'}`,
  create: () => {
    if (server === null) throw new Error(reason ?? '');
    return bigqueryHarness(server);
  },
  runs: 1,
});
