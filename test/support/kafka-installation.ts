import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import type { RunningRegistry } from '../../commands/stack/registry.ts';
import { Installation } from './installation.ts';
import type { TestPostgres } from './postgres.ts';

export interface KafkaServers {
  readonly postgres: TestPostgres;
  readonly kafka: KafkaCluster;
  readonly registry: RunningRegistry;
}

/** An installation whose log is on a real Kafka, its schemas in a real registry. */
export async function createKafkaInstallation(
  servers: KafkaServers,
  database: string,
  { sql, topics = '{}' }: { readonly sql: string; readonly topics?: string },
): Promise<Installation> {
  const { postgres, kafka, registry } = servers;
  const installation = await Installation.create(postgres, database, sql);
  const text = `
source: { url: "\${DATABASE_URL}", slot: ${database}, tables: ["public.*"] }
log: { type: kafka, brokers: ${JSON.stringify(kafka.brokers)}, prefix: ${database}, topics: ${topics} }
registry: { type: confluent, url: "${registry.url}" }
sinks: { lake: { type: duckdb, path: ./lake.duckdb } }
capture: { spool: ./spool }
retry: { first: 250 ms, longest: 2 s }
`;
  await writeFile(installation.configFile, text);
  return installation;
}

/** The process of an installation that runs `tributary <words>`, once there is one. */
export function pidOf(installation: Installation, words: string): number | null {
  const lines = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,args='], { encoding: 'utf8' });
  const found = lines
    .split('\n')
    .find((line) => line.includes(installation.configFile) && line.includes(` ${words} --config`));
  return found === undefined ? null : Number.parseInt(found, 10);
}
