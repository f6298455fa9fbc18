import { PipelineError } from '../../runtime/errors.ts';

/** The requests that the driver sends, with Kafka's numbers. https://kafka.apache.org/protocol#protocol_api_keys */
export const apiKeys = {
  Produce: 0,
  Fetch: 1,
  ListOffsets: 2,
  Metadata: 3,
  CreateTopics: 19,
  InitProducerId: 22,
  DescribeConfigs: 32,
} as const;

export type ApiName = keyof typeof apiKeys;

export interface VersionRange {
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** Versions of each request that a client library speaks. */
export type SpokenVersions = Readonly<Record<ApiName, readonly number[]>>;

/**
 * The newest version of each request that both sides speak. Throws `log-unsupported` that names every
 * request without one: brokers drop old versions now and then (KIP-896), and an unknown version makes
 * them just hang up.
 */
export function agreeOnVersions(
  spoken: SpokenVersions,
  offered: ReadonlyMap<number, VersionRange>,
  who: { readonly client: string; readonly broker: string },
): Readonly<Record<ApiName, number>> {
  const missing: string[] = [];
  const agreed = Object.entries(apiKeys).map(([name, key]) => {
    const own = spoken[name as ApiName];
    const range = offered.get(key);
    const shared = own.filter(
      (version) =>
        range !== undefined && version >= range.minVersion && version <= range.maxVersion,
    );
    if (shared.length === 0) {
      const theirs = range === undefined ? 'none' : `${range.minVersion}-${range.maxVersion}`;
      missing.push(`${name} (broker ${theirs}, client ${Math.min(...own)}-${Math.max(...own)})`);
    }
    return [name, Math.max(...shared)] as const;
  });
  if (missing.length > 0) {
    throw new PipelineError(
      'log-unsupported',
      `broker ${who.broker} and the client ${who.client} share no version of ${missing.join(', ')}`,
      { hint: 'set log.client to the other client, or use brokers of version 2.4 to 4.x' },
    );
  }
  return Object.fromEntries(agreed) as Record<ApiName, number>;
}
