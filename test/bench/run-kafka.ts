// npm run bench:kafka [-- capture|debezium|default-avro|default-json|tuned-avro|tuned-json|latency ...]
// [--rows N] [--debezium-rows N] [--turns N]: all of it unless named. One JSON line a figure.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { debeziumVariants } from './debezium-process.ts';
import { benchDebezium } from './debezium-throughput.ts';
import { benchKafkaLatency } from './kafka-latency.ts';
import { benchKafkaCapture } from './kafka-throughput.ts';
import { report } from './report.ts';
import type { ChildFigures } from './run-child.ts';

const rowsDefault = '1000000';
const turnsDefault = '3';
/** Each turn has replication slots of its own. */
const turnsMax = 15;
const lastWritesMs = 1_000;

const { values, positionals } = parseArgs({
  options: {
    rows: { type: 'string', default: rowsDefault },
    // It takes minutes for a million; rows/s are compared, so fewer will do.
    'debezium-rows': { type: 'string' },
    // Each driver drains the backlog so often; the medians count.
    turns: { type: 'string', default: turnsDefault },
  },
  allowPositionals: true,
});
const rows = Number(values.rows);
const debeziumRows = Number(values['debezium-rows'] ?? values.rows);
const turns = Number(values.turns);
const isCount = (value: number) => Number.isInteger(value) && value > 0;
const known = ['capture', 'debezium', ...debeziumVariants, 'latency'];
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0 || ![rows, debeziumRows, turns].every(isCount) || turns > turnsMax) {
  process.stderr.write(
    `usage: bench:kafka [-- ${known.join('|')}] [--rows N] [--debezium-rows N] [--turns N]\n`,
  );
  process.exit(2);
}

// Every folder of the run is in this one, so that Ctrl-C, too, leaves nothing behind.
const folder = mkdtempSync(path.join(os.tmpdir(), 'tributary-bench-kafka-'));
// As root PostgreSQL runs as another user, who has to get through.
chmodSync(folder, 0o755);
process.env['TMPDIR'] = folder;
const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
for (const [name, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(name, () => {
    // Behind the listener that kills the servers; PostgreSQL's processes still write when theirs is gone.
    process.on('exit', () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lastWritesMs);
      remove();
    });
    process.exit(code);
  });
}

const isWanted = (name: string) => positionals.length === 0 || positionals.includes(name);
try {
  const ours = isWanted('capture') ? await benchKafkaCapture(rows, turns) : null;
  const variants = debeziumVariants.filter((name) => isWanted('debezium') || isWanted(name));
  const theirs = variants.length === 0 ? [] : await benchDebezium(debeziumRows, variants);
  if (ours !== null && theirs.length > 0) compare(ours, theirs);
  if (isWanted('latency')) await benchKafkaLatency();
} finally {
  remove();
}

function compare(ours: ChildFigures, theirs: readonly ChildFigures[]): void {
  const bench = 'kafka';
  const rate = Math.max(...theirs.map(({ seconds }) => debeziumRows / seconds));
  const cpu = Math.min(...theirs.map(({ cpuSeconds }) => cpuSeconds / debeziumRows));
  report({
    bench,
    what: 'capture (auto) / the best Debezium, rows/s',
    value: rows / ours.seconds / rate,
    unit: 'ratio',
    aim: '>= 3.5',
  });
  report({
    bench,
    what: 'capture (auto) / the best Debezium, CPU a row',
    value: ours.cpuSeconds / rows / cpu,
    unit: 'ratio',
    aim: '<= 0.2',
  });
}
