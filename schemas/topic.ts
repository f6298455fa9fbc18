import { PipelineError } from '../runtime/errors.ts';
import { tableName } from './table-schema.ts';

/** Kafka refuses longer names. https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/internals/Topic.java */
const topicLengthMax = 249;

const illegal = /[^A-Za-z0-9._-]/g;

/** "app.public.service_event": where a table's changes go. Characters that Kafka refuses become "_". */
export function topicOf(prefix: string, schema: string, table: string): string {
  return `${prefix}.${schema}.${table}`.replace(illegal, '_');
}

/**
 * Topic → table for all captured tables. Throws `source-unfit` when two tables would share a topic or
 * a name is too long for Kafka.
 */
export function topicsOf<T extends { readonly schema: string; readonly name: string }>(
  prefix: string,
  tables: readonly T[],
): ReadonlyMap<string, T> {
  const topics = new Map<string, T>();
  for (const table of tables) {
    const topic = topicOf(prefix, table.schema, table.name);
    const other = topics.get(topic);
    if (other !== undefined) throw collision(topic, tableName(other), tableName(table));
    if (topic.length > topicLengthMax) throw tooLong(topic, tableName(table));
    topics.set(topic, table);
  }
  return topics;
}

const collision = (topic: string, first: string, second: string): PipelineError =>
  new PipelineError('source-unfit', `tables ${first} and ${second} both map to topic ${topic}`, {
    hint: 'leave one of them out of source.tables, or rename it',
  });

const tooLong = (topic: string, table: string): PipelineError =>
  new PipelineError(
    'source-unfit',
    `the topic of table ${table} has ${topic.length} characters, Kafka takes ${topicLengthMax}`,
    { hint: 'choose a shorter log.prefix, or rename the table' },
  );
