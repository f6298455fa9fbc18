export interface StackAddresses {
  readonly sourceUrl: string;
  /** host:port of every broker. */
  readonly brokers: readonly string[];
  readonly registryUrl: string;
}

/** The tributary.yaml that goes with the servers of `tributary stack`: ready to run as it is. */
export function renderStackConfiguration(addresses: StackAddresses): string {
  const { sourceUrl, brokers, registryUrl } = addresses;
  const replication = Math.min(3, brokers.length);
  return `# Tributary on the servers that \`tributary stack\` runs in this folder.
# Every field: tributary config --reference

source:
  url: ${sourceUrl}
  publication: tributary     # every table of schema public, later ones too
  slot: tributary            # capture creates it
  tables: ["public.*"]

log:
  type: kafka
  brokers: [${brokers.map((broker) => JSON.stringify(broker)).join(', ')}]
  prefix: app
  topics:
    replication: ${replication}
    min_insync: ${Math.max(1, replication - 1)}

registry:
  type: confluent
  url: ${registryUrl}

sinks:
  lake:
    type: duckdb
    path: ./lake.duckdb

capture:
  spool: ./spool
`;
}
