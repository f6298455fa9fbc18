import type { Change } from '../../schemas/change.ts';
import { tableName } from '../../schemas/table-schema.ts';
import { MemoryLake } from '../../sinks/memory/client.ts';
import { MemorySink, type MemorySinkStep } from '../../sinks/memory/sink.ts';
import type { SinkHarness } from '../conformance/sink-suite.ts';

/** A memory sink on a lake of its own. */
export function memoryHarness(): SinkHarness {
  const lake = new MemoryLake();
  let doomed: string | null = null;
  const onStep = (step: MemorySinkStep) => {
    if (step !== doomed) return;
    doomed = null;
    throw new Error(`died at ${step}`);
  };
  return {
    sink: new MemorySink(lake, { onStep }),
    reopen: async () => new MemorySink(lake, { onStep }),
    rows: async (table) =>
      lake.rows({ table }).map(({ image, seq, committedAtUs }) => {
        return { values: image, seq, committedAtUs };
      }),
    changes: async (table) =>
      (lake.content.tables.get(tableName(table))?.changes ?? []).map(
        ({ change, values, batchId }) => ({
          ...originOf(change),
          values: table.columns.map((column) => values[column.name] ?? null),
          batchId,
        }),
      ),
    deadLetters: async () => lake.content.deadLetters,
    checkpoint: async () => lake.content.checkpoint,
    crashSteps: ['before-merge', 'before-commit', 'after-commit'],
    crashAt: (step) => {
      doomed = step;
    },
    destroy: async () => {},
  };
}

function originOf(change: Change) {
  const { op, seq, lsn, xid, committedAtUs, capturedAtUs, topic, partition, offset } = change;
  const names = change.version.table.columns.map((column) => column.name);
  const unchanged = op === 'd' || op === 't' ? [] : change.unchanged;
  return {
    op,
    seq,
    lsn,
    xid,
    committedAtUs,
    capturedAtUs,
    topic,
    partition,
    offset,
    schemaId: change.version.valueSchemaId,
    unchanged: unchanged.map((index) => names[index] ?? ''),
  };
}
