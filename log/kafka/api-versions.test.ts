import { describe, expect, it } from 'vitest';
import { agreeOnVersions, apiKeys, type VersionRange } from './api-versions.ts';
import { kafkajsVersions } from './kafkajs-client.ts';
import { platformaticVersions } from './platformatic-client.ts';

/** Of Apache Kafka 4.3. */
const offered: ReadonlyMap<number, VersionRange> = new Map([
  [apiKeys.Produce, { minVersion: 3, maxVersion: 13 }],
  [apiKeys.Fetch, { minVersion: 4, maxVersion: 18 }],
  [apiKeys.ListOffsets, { minVersion: 1, maxVersion: 11 }],
  [apiKeys.Metadata, { minVersion: 0, maxVersion: 13 }],
  [apiKeys.CreateTopics, { minVersion: 2, maxVersion: 7 }],
  [apiKeys.InitProducerId, { minVersion: 0, maxVersion: 6 }],
  [apiKeys.DescribeConfigs, { minVersion: 1, maxVersion: 4 }],
]);

describe.each([
  ['kafkajs', kafkajsVersions()],
  ['platformatic', platformaticVersions],
] as const)('the versions of %s', (client, spoken) => {
  const who = { client, broker: 'kafka-1:9092' };

  it('overlap with those of Kafka 4.3, and the newest shared one is taken', () => {
    const agreed = agreeOnVersions(spoken, offered, who);
    for (const [name, version] of Object.entries(agreed)) {
      const range = offered.get(apiKeys[name as keyof typeof apiKeys]);
      expect(version).toBeGreaterThanOrEqual(range?.minVersion ?? Infinity);
      expect(version).toBeLessThanOrEqual(range?.maxVersion ?? -1);
    }
    expect(agreed.Produce).toBe(Math.max(...spoken.Produce));
  });

  it('are named, with the broker, when a broker has dropped all of them', () => {
    const newest = Math.max(...spoken.Fetch);
    const later = new Map(offered).set(apiKeys.Fetch, {
      minVersion: newest + 1,
      maxVersion: newest + 9,
    });
    expect(() => agreeOnVersions(spoken, later, who)).toThrow(
      new RegExp(`kafka-1:9092 and the client ${client} share no version of Fetch \\(broker `),
    );
  });

  it('are named when a broker does not know a request at all', () => {
    const without = new Map(offered);
    without.delete(apiKeys.InitProducerId);
    expect(() => agreeOnVersions(spoken, without, who)).toThrow(/InitProducerId \(broker none/);
  });
});
