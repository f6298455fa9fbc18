import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';

export interface ConfluentRegistryOptions {
  readonly config: ConfluentRegistryConfig;
}

/** Opens a schema registry with Confluent's interface. */
export async function openConfluentRegistry(
  options: ConfluentRegistryOptions,
): Promise<SchemaRegistry> {
  throw new PipelineError('setup-failed', `no driver yet for ${options.config.url}`);
}
