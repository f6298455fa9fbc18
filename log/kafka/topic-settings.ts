import type { KafkaLogConfig } from '../../runtime/config.ts';
import type { TopicSpec } from '../log.ts';
import type { TopicSettings } from './client.ts';

const forever = '-1';

/** What a topic is created with, and is compared with when it exists. Retention is Kafka's, a partition each. */
export function topicSettings(spec: TopicSpec, config: KafkaLogConfig): TopicSettings {
  const { retention, topics } = config;
  const kept = {
    'retention.ms': String(retention.age ?? forever),
    'retention.bytes': String(retention.size ?? forever),
  };
  return {
    topic: spec.topic,
    partitions: spec.partitions,
    replication: topics.replication,
    settings: {
      'cleanup.policy': cleanupOf(spec, topics.cleanup),
      ...(spec.compacted ? {} : kept),
      'min.insync.replicas': String(topics.min_insync),
      'max.message.bytes': String(topics.message_size),
    },
  };
}

/** A compacted topic refuses records without a key, so tables without one are never compacted. */
function cleanupOf({ compacted, keyed = false }: TopicSpec, wanted: string): string {
  if (compacted) return 'compact';
  return keyed ? wanted : 'delete';
}

export interface Drift {
  readonly setting: string;
  readonly wanted: string;
  readonly found: string;
}

/** Where an existing topic is not what it would be created as. */
export function settingsDrift(
  wanted: Readonly<Record<string, string>>,
  found: ReadonlyMap<string, string>,
): readonly Drift[] {
  return Object.entries(wanted).flatMap(([setting, value]) => {
    const actual = found.get(setting);
    if (actual === undefined || sorted(actual) === sorted(value)) return [];
    return [{ setting, wanted: value, found: actual }];
  });
}

/** Lists such as "compact,delete" have no order. */
const sorted = (value: string): string => value.split(',').toSorted().join(',');
