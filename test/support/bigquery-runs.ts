import { lacksLocalBigQuery } from './local-bigquery/environment.ts';
import { startLocalBigQuery } from './local-bigquery/local-bigquery.ts';
import { lacksRealBigQuery, startRealBigQuery, type Usage } from './real-bigquery.ts';
import type { TestBigQuery } from './test-bigquery.ts';

/** One BigQuery that tests run on, and why not where they do not. */
export interface BigQueryRun {
  /** With the reason, where it is skipped. */
  readonly name: string;
  readonly isSkipped: boolean;
  readonly isEmulator: boolean;
  readonly start: () => Promise<TestBigQuery>;
}

/** The emulator, and the service where a project is given: `describe.each(await bigqueryRuns(…))`. */
export async function bigqueryRuns(usage: Usage): Promise<readonly BigQueryRun[]> {
  const [noEmulator, noService] = [await lacksLocalBigQuery(), lacksRealBigQuery()];
  const named = (name: string, lacking: string | null) => ({
    name: lacking === null ? name : `${name} (${lacking})`,
    isSkipped: lacking !== null,
  });
  return [
    { ...named('local-bigquery', noEmulator), isEmulator: true, start: startLocalBigQuery },
    {
      ...named('the service', noService),
      isEmulator: false,
      start: () => startRealBigQuery({ usage }),
    },
  ];
}
