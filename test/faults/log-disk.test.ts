import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import type { Log, StoredRecord } from '../../log/log.ts';
import { LogProcess, type LogProcessOptions } from '../support/log-process.ts';

const opener = new URL('../support/embedded-log-opener.ts', import.meta.url);
const topic = 'app.public.orders';

/** A file system of its own, of limited size; only root of a machine that allows it can make one. */
class SmallDisk implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'tributary-disk-'));

  constructor(sizeKilobytes: number) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKilobytes}k`, 'tmpfs', this.folder], {
      stdio: 'ignore',
    });
  }

  remount(options: string): void {
    execFileSync('mount', ['-o', `remount,${options}`, this.folder], { stdio: 'ignore' });
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.folder], { stdio: 'ignore' });
    rmdirSync(this.folder);
  }
}

function canMount(): boolean {
  try {
    new SmallDisk(1024)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

const records = (start: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({
    key: null,
    value: Buffer.from(`${start + index}:`.padEnd(1_000, 'x')),
    headers: [],
    timestampMs: 1_700_000_000_000,
  }));

async function readAll(log: Log): Promise<StoredRecord[]> {
  const found: StoredRecord[] = [];
  for (;;) {
    const from = { topic, partition: 0, offset: found.length };
    const read = await log.read(from, { bytesMax: 1_000_000, waitMs: 0 });
    if (read.length === 0) return found;
    found.push(...read);
  }
}

const ownOffset = ({ value }: StoredRecord): number => Number.parseInt(String(value), 10);

/** Appends until an append fails; gives the end that was acknowledged and the error. */
async function appendUntilFailure(log: Log, appendsMax: number) {
  let acknowledged = (await log.ranges([topic])).get(topic)?.[0]?.end ?? 0;
  try {
    for (let round = 0; round < appendsMax; round += 1) {
      const [end] = await log.append([{ topic, partition: 0, records: records(acknowledged, 50) }]);
      acknowledged = end?.end ?? acknowledged;
    }
    return { acknowledged, error: undefined };
  } catch (error) {
    return { acknowledged, error };
  }
}

const mounts = canMount();
const hasStrace = spawnSync('strace', ['-V'], { stdio: 'ignore' }).status === 0;

describe('the disk under the log', () => {
  it.skipIf(!mounts)('being full loses nothing acknowledged; space lets it go on', async () => {
    using disk = new SmallDisk(4_096);
    const path = join(disk.folder, 'log.db');
    await using log = closing(await openEmbeddedLog({ path }));
    await log.value.createTopics([{ topic, partitions: 1, compacted: false }]);
    const full = await appendUntilFailure(log.value, 1_000);
    expect(full.error).toMatchObject({
      kind: 'log-unwritable',
      hint: expect.stringMatching(/space/),
    });
    expect(full.acknowledged).toBeGreaterThan(0);
    // The handle stays refused although there is room again: what failed before must come first.
    disk.remount('size=65536k');
    expect((await appendUntilFailure(log.value, 1)).error).toBe(full.error);
    await log.value.close();

    await using again = closing(await openEmbeddedLog({ path }));
    const kept = await readAll(again.value);
    expect(kept.map(ownOffset)).toEqual([...kept.keys()]);
    expect(kept.length).toBe(full.acknowledged);
    expect((await appendUntilFailure(again.value, 3)).acknowledged).toBe(full.acknowledged + 150);
  });

  it.skipIf(!mounts)('being read-only is named, and reading goes on', async () => {
    using disk = new SmallDisk(16_384);
    const path = join(disk.folder, 'log.db');
    const log = await openEmbeddedLog({ path });
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    await log.append([{ topic, partition: 0, records: records(0, 10) }]);
    await log.close();
    disk.remount('ro');
    await expect(openEmbeddedLog({ path })).rejects.toMatchObject({ kind: 'log-unwritable' });
    disk.remount('rw');
    await using again = closing(await openEmbeddedLog({ path }));
    expect(await readAll(again.value)).toHaveLength(10);
  });

  it('refusing to let a file grow loses nothing acknowledged', async () => {
    const { acknowledged, kept, isNamed } = await appendUntil({ fileKilobytesMax: 2_000 });
    expect(isNamed).toBe(true);
    expect(acknowledged).toBeGreaterThan(0);
    expect(kept.length).toBeGreaterThanOrEqual(acknowledged);
    expect(kept.map(ownOffset)).toEqual([...kept.keys()]);
  });

  it.skipIf(!hasStrace)('failing to sync is never reported as saved', async () => {
    const { acknowledged, kept, isNamed } = await appendUntil({ failingSync: 40 });
    expect(isNamed).toBe(true);
    expect(acknowledged).toBeGreaterThan(0);
    expect(kept.length).toBeGreaterThanOrEqual(acknowledged);
    expect(kept.map(ownOffset)).toEqual([...kept.keys()]);
  });
});

/** Lets a process append until the fault stops it; gives what it had acknowledged and what is there. */
async function appendUntil(fault: Pick<LogProcessOptions, 'fileKilobytesMax' | 'failingSync'>) {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-log-'));
  try {
    const path = join(folder, 'log.db');
    const log = await openEmbeddedLog({ path });
    await log.createTopics([{ topic, partitions: 1, compacted: false }]);
    await log.close();
    await using child = new LogProcess({ role: 'append', opener, place: path, topic, ...fault });
    const printed = await child.failed();
    const acknowledged = Number(child.lines.at(-1)?.split(' ')[1]);
    await using again = closing(await openEmbeddedLog({ path }));
    const kept = await readAll(again.value);
    return { acknowledged, kept, isNamed: /log-unwritable/.test(printed) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Closes the log at the end of the block, so that its disk can be unmounted. */
function closing(value: Log): AsyncDisposable & { readonly value: Log } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}
