import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {
  type KafkaCluster,
  type KafkaOptions,
  startKafka as start,
} from '../../commands/stack/kafka.ts';
import { type RunningRegistry, startRegistry } from '../../commands/stack/registry.ts';

/** A real Kafka in a temporary folder; disposing kills it and removes the folder. */
export async function startTestKafka(
  options: Omit<KafkaOptions, 'dir'> = {},
): Promise<KafkaCluster> {
  const { dir, remove } = await temporaryFolder('kafka');
  const cluster = await start({ ...options, dir }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  return {
    ...cluster,
    [Symbol.asyncDispose]: async () => {
      await cluster.kill();
      await remove();
    },
  };
}

/** A real schema registry, in memory; disposing kills it. */
export async function startTestRegistry(): Promise<RunningRegistry> {
  const { dir, remove } = await temporaryFolder('registry');
  const registry = await startRegistry({ dir }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  return {
    ...registry,
    [Symbol.asyncDispose]: async () => {
      await registry.kill();
      await remove();
    },
  };
}

async function temporaryFolder(name: string) {
  const dir = await mkdtemp(path.join(os.tmpdir(), `tributary-${name}-`));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}
