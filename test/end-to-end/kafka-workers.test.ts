import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { KafkaCluster } from '../../commands/stack/kafka.ts';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import { openKafkaLog } from '../../log/kafka/kafka-log.ts';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { configSchema } from '../../runtime/config/schema.ts';
import { commandsArbitrary, runHistory } from '../conformance/sink-history.ts';
import { logAndLake } from '../integration/run-sink-harness.ts';
import {
  expectAll,
  isDivided,
  patience,
  startWorker,
  stopAll,
  type WorkerPlace,
  write,
} from '../integration/sink-workers-harness.ts';
import { ChangeLog } from '../support/change-log.ts';
import { startTestKafka } from '../support/kafka.ts';

const limits = { lookEveryMs: 200, silenceMsMax: 4_000 };

let kafka: KafkaCluster;
beforeAll(async () => {
  kafka = await startTestKafka();
});
afterAll(() => kafka[Symbol.asyncDispose]());

function kafkaConfig(prefix: string): KafkaLogConfig {
  const { log } = configSchema.parse({
    source: { url: 'postgres://nobody@localhost/none' },
    log: { type: 'kafka', brokers: kafka.brokers, prefix },
    registry: { type: 'confluent', url: 'http://localhost:1' },
  });
  if (log.type !== 'kafka') throw new Error('the configuration says Kafka');
  return log;
}

test('workers on Kafka share the tables, and take over from one that dies and one that freezes', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tributary-kafka-workers-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'log');
  stack.adopt(await openEmbeddedLog({ path: file }), (log) => log.close());
  const registry = stack.adopt(await openEmbeddedRegistry({ path: file }), (one) => one.close());
  const config = kafkaConfig('app');
  const log = stack.adopt(await openKafkaLog({ config }), (opened) => opened.close());
  const changeLog = new ChangeLog(log, registry, 'app');
  await changeLog.create(['items', 'pairs', 'audit']);
  const given = logAndLake(changeLog);
  const openLog = () => openKafkaLog({ config });
  const place: WorkerPlace = { given, meeting: 'topic', folder, openLog, limits };
  const [commands] = fc.sample(commandsArbitrary(200), { numRuns: 1, seed: 11 });
  const history = runHistory(commands ?? []);
  const last = history.cuts.length - 1;
  const [third, half] = [Math.floor(last / 3), Math.floor(last / 2)];
  const workers = ['one', 'two', 'three'].map((name) => startWorker(place, name));
  await write(changeLog, history, [0, third]);
  await vi.waitUntil(() => isDivided(workers), patience);
  const [dead, zombie, living] = workers;
  dead!.freezer.freeze();
  zombie!.beforeApply = () => zombie!.freezer.freeze();
  await write(changeLog, history, [third + 1, half]);
  await write(changeLog, history, [half + 1, last]);
  await expectAll(given.lake, history);
  zombie!.beforeApply = () => {};
  zombie!.freezer.thaw();
  await vi.waitUntil(() => isDivided([zombie!, living!]), patience);
  await expectAll(given.lake, history);
  // Whoever notices first takes it out, so that the other may not.
  expect([zombie!, living!].flatMap(({ gone }) => gone.map(({ host }) => host))).toContain('one');
  await stopAll(workers);
});
