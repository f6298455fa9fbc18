import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { startTestPostgres } from '../support/postgres.ts';
import { backlogRows, eventTableSql, writeBacklog } from './backlog.ts';
import { median, report } from './report.ts';
import { type ChildFigures, runChild } from './run-child.ts';

const rounds = 3;
/**
 * A backlog behind a slot, drained into the embedded log, against a process that reads the same stream
 * and discards it. The two take turns; the ratio is that of the medians.
 */
export async function benchCapture(): Promise<void> {
  await using server = await startTestPostgres();
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
  const url = await server.createDatabase('bench');
  await server.run('bench', `${eventTableSql}; create publication bench for table service_event`);
  const { rows } = await server.run('bench', 'select pg_current_wal_flush_lsn()::text as lsn');
  const before = String(rows[0]?.lsn);
  const run = async (mode: string, slot: string, until: string): Promise<ChildFigures> => {
    const folder = path.join(dir, slot);
    await mkdir(folder, { recursive: true });
    return await runChild([mode, url, slot, folder, until]);
  };
  for (let round = 0; round < rounds; round += 1) {
    // Capture's first start makes its slot and reads the empty table: not part of the figures.
    await run('capture', `capture_${round}`, before);
    await server.run(
      'bench',
      `select pg_create_logical_replication_slot('discard_${round}', 'pgoutput')`,
    );
  }
  const until = await writeBacklog(server, 'bench');
  const figures: { capture: ChildFigures; discard: ChildFigures }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const discard = await run('discard', `discard_${round}`, until);
    const capture = await run('capture', `capture_${round}`, until);
    figures.push({ discard, capture });
  }
  reportFigures(figures);
  await rm(dir, { recursive: true, force: true });
}

function reportFigures(figures: readonly { capture: ChildFigures; discard: ChildFigures }[]): void {
  const of = (pick: (pair: (typeof figures)[number]) => number) => median(figures.map(pick));
  const bench = 'capture';
  report({
    bench,
    what: 'discarding reader',
    value: backlogRows / of(({ discard }) => discard.seconds),
    unit: 'rows/s',
  });
  report({
    bench,
    what: 'capture to log',
    value: backlogRows / of(({ capture }) => capture.seconds),
    unit: 'rows/s',
  });
  const ratio = of(({ capture, discard }) => discard.seconds / capture.seconds);
  report({
    bench,
    what: 'capture / discarding reader',
    value: ratio,
    unit: 'ratio',
    aim: '>= 0.9',
  });
  const cpu = of(({ capture }) => (capture.cpuSeconds * 1e6) / backlogRows);
  report({ bench, what: 'capture CPU', value: cpu, unit: 'µs/row' });
  report({
    bench,
    what: 'capture peak memory',
    value: of(({ capture }) => capture.peakMemoryMb),
    unit: 'MB',
  });
}
