import { afterAll } from 'vitest';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';
import { runSinkSuite } from './sink-suite.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

runSinkSuite({ name: 'bigquery', create: () => fakeBigqueryHarness(fake), runs: 6 });

const inline = { inlineTableBytesMax: 64 << 10 };
runSinkSuite({
  name: 'bigquery, small batches without a load',
  create: () => fakeBigqueryHarness(fake, () => inline),
  runs: 4,
});

const documents = { policyOf: () => ({ json: 'json', unfit: 'exact_text' }) as const };
runSinkSuite({
  name: 'bigquery, documents as JSON',
  create: () => fakeBigqueryHarness(fake, () => documents),
  runs: 4,
});
runSinkSuite({
  name: 'bigquery, small batches with documents as JSON',
  create: () => fakeBigqueryHarness(fake, () => ({ ...inline, ...documents })),
  runs: 2,
});
