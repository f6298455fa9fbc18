/**
 * Gives a row once Debezium streams. Its slot is active before, and what is committed until it has
 * looked at the tables is not streamed.
 */
export const isStreamingSql = (slot: string): string => /* sql */ `
  select from pg_replication_slots as slot join pg_stat_replication as reader on reader.pid = slot.active_pid
  where slot.slot_name = '${slot}' and reader.state = 'streaming'`;

/** Debezium as in the golden run (test/fixtures/debezium-3.6.3), without rows of a snapshot. */
export function debeziumSettings(options: {
  readonly url: string;
  readonly prefix: string;
  readonly slot: string;
  readonly publication: string;
}): Readonly<Record<string, string | number | boolean>> {
  const { hostname, port, username, password, pathname } = new URL(options.url);
  return {
    name: options.prefix,
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': 1,
    'database.hostname': hostname,
    'database.port': port,
    'database.user': decodeURIComponent(username),
    'database.password': decodeURIComponent(password) || 'x',
    'database.dbname': decodeURIComponent(pathname.slice(1)),
    'topic.prefix': options.prefix,
    'plugin.name': 'pgoutput',
    'slot.name': options.slot,
    'publication.name': options.publication,
    'publication.autocreate.mode': 'disabled',
    'snapshot.mode': 'no_data',
    'schema.name.adjustment.mode': 'avro',
    'field.name.adjustment.mode': 'avro',
    'decimal.handling.mode': 'precise',
    'time.precision.mode': 'adaptive',
    'provide.transaction.metadata': true,
    'tombstones.on.delete': true,
    'skipped.operations': 'none',
    'topic.creation.default.replication.factor': 1,
    'topic.creation.default.partitions': 1,
    'topic.creation.default.cleanup.policy': 'delete',
    'topic.creation.default.max.message.bytes': 10_485_760,
    'producer.override.max.request.size': 10_485_760,
  };
}
