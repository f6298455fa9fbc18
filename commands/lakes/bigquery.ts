import { dirname, join } from 'node:path';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import type { BigquerySinkConfig, Config } from '../../runtime/config.ts';
import { createBigquerySink } from '../../sinks/bigquery/bigquery-sink.ts';
import { checkLake, type LakeFinding } from '../../sinks/bigquery/check-lake.ts';
import { readLoadCosts } from '../../sinks/bigquery/load-costs.ts';
import { sharesNeeded, sourceTablesMax } from '../../sinks/bigquery/script-limits.ts';
import type { WriteOptions } from '../../sinks/bigquery/sink-parts.ts';
import { openLakeReader } from '../../sinks/bigquery/read-lake.ts';
import type { SinkPause } from '../../sinks/run-sink.ts';
import { FolderMembership } from '../../sinks/workers/folder-membership.ts';
import type { Membership } from '../../sinks/workers/membership.ts';
import { TopicMembership } from '../../sinks/workers/topic-membership.ts';
import { openLog } from '../open-log.ts';
import { holdShares } from '../verify/hold-shares.ts';
import { checkOverrides, compilePolicy, policyText } from './column-policy.ts';
import type { ConfiguredLake, LoadObserver } from './lake.ts';

/** Nothing is locked: nobody has to ask for the lake. */
const noPause: SinkPause = { requested: () => null, run: async () => undefined };

/** A dataset, which everybody can read at any time. */
export function bigqueryLakeOf(
  name: string,
  settings: BigquerySinkConfig,
  config: Config,
): ConfiguredLake {
  const options = lakeOptionsOf(settings);
  const { shares: shareCount } = settings;
  const openMembership = () => membershipOf(name, config);
  const newSink = (share: number, observer?: LoadObserver) =>
    createBigquerySink({
      ...options,
      ...observer,
      share,
      shares: shareCount,
      spacingMsMin: settings.spacing.least,
      spacingMsMax: settings.spacing.longest,
      scanBytesPerHourMax: settings.budget,
    });
  return {
    shareCount,
    openMembership,
    openShare: (share, observer) => ({
      sink: newSink(share, observer),
      pause: noPause,
      [Symbol.dispose]: () => undefined,
    }),
    evict: async () => false,
    checkpoint: () => openLakeReader(options).checkpoint(),
    borrow: (_options, use) => use(),
    check: async (tables) => [
      ...(await checkLake(options)),
      ...checkShares(tables.length, shareCount),
      ...checkOverrides(settings.columns, tables),
    ],
    costs: async () => {
      const isOpened = (await openLakeReader(options).checkpoint()) !== null;
      return isOpened ? await readLoadCosts(options) : null;
    },
    hold: (signal) =>
      holdShares({
        config,
        settings,
        sink: name,
        shareCount,
        openMembership,
        newSink,
        rows: (table) => imagesOf(openLakeReader(options).readRows(table, table.columns, [])),
        signal,
      }),
    models: () => {
      const reader = openLakeReader(options);
      const query = async (sql: string) =>
        (await reader.rows(sql)).map((row) => row.map((value) => value ?? 'null'));
      return {
        lake: bigqueryLake({ ...options, query }),
        workDir: join(dirname(config.file), `${name}-models`),
      };
    },
  };
}

/** A sink's settings as its own code takes them. */
function lakeOptionsOf(settings: BigquerySinkConfig): WriteOptions {
  const { project, dataset, location, endpoint, labels, mode, history, staleness } = settings;
  return {
    project,
    dataset,
    location,
    endpoint,
    labels,
    mode,
    history,
    policyOf: compilePolicy(settings.columns),
    policyText: policyText(settings.columns),
    credentialsFile: settings.credentials_file,
    storageEndpoint: settings.storage_endpoint,
    kmsKey: settings.kms_key,
    maxStalenessMinutes: staleness === undefined ? undefined : Math.ceil(staleness / 60_000),
  };
}

function checkShares(tableCount: number, shareCount: number): readonly LakeFinding[] {
  const needed = sharesNeeded(tableCount);
  if (needed <= shareCount) return [];
  return [
    {
      severity: 'warning',
      what: `${tableCount} tables in ${shareCount === 1 ? '1 share' : `${shareCount} shares`}`,
      why: `one transaction of BigQuery changes at most ${sourceTablesMax} of them; set shares: ${needed} before the first load`,
      sql: null,
    },
  ];
}

/** Workers of a lake that all can reach meet where they all have the log. */
function membershipOf(sink: string, config: Config): Membership {
  const { log } = config;
  return log.type === 'embedded'
    ? new FolderMembership(join(log.path, 'members'), sink)
    : new TopicMembership({ openLog: () => openLog(config), prefix: log.prefix, sink });
}

async function* imagesOf<T>(rows: AsyncIterable<readonly [unknown, T]>): AsyncGenerator<T> {
  for await (const [, image] of rows) yield image;
}
