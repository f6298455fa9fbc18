import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { MemoryLake } from '../../sinks/memory/client.ts';
import { MemorySink } from '../../sinks/memory/sink.ts';
import type { MemberRecord } from '../../sinks/workers/membership.ts';
import { commandsArbitrary, runHistory } from '../conformance/sink-history.ts';
import { appendedPositions, openSharedLog, type SharedLog } from './run-sink-harness.ts';
import {
  expectAll,
  isDivided,
  membershipOf,
  type Meeting,
  patience,
  startWorker,
  stopAll,
  type TestWorker,
  type WorkerPlace,
  write,
} from './sink-workers-harness.ts';

let shared: SharedLog;
beforeAll(async () => {
  shared = await openSharedLog();
});
afterAll(() => shared[Symbol.asyncDispose]());

/** A history of a few hundred changes in all three tables. */
const [longHistory] = fc
  .sample(commandsArbitrary(300), { numRuns: 40, seed: 7 })
  .map((commands) => runHistory(commands))
  .toSorted((a, b) => b.changes.length - a.changes.length);

async function withPlace(meeting: Meeting, body: (place: WorkerPlace) => Promise<void>) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tributary-members-'));
  try {
    const openLog = () => openEmbeddedLog({ path: shared.file });
    await body({ given: await shared.fresh(), meeting, folder, openLog });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe.each<Meeting>(['topic', 'folder'])('workers that meet in a %s', (meeting) => {
  it('see each other, however many they are; who left or was taken out is gone until its next word', () =>
    withPlace(meeting, async (place) => {
      const meet = () => ({ membership: membershipOf(place), id: randomUUID() });
      const all = Array.from({ length: 12 }, meet);
      const record = (id: string, beat: number): MemberRecord => {
        return { id, sink: 'lake', host: 'here', pid: 1, beat, atMs: beat, claims: [] };
      };
      const others = { ...record(randomUUID(), 1), sink: 'another' };
      await all[0]!.membership.announce(others);
      for (const beat of [1, 2]) {
        await Promise.all(all.map(({ membership, id }) => membership.announce(record(id, beat))));
      }
      const ids = all.map(({ id }) => id).toSorted();
      const seenBy = async ({ membership }: (typeof all)[number]) =>
        (await membership.members()).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      const wanted = ids.map((id) => record(id, 2));
      for (const one of [...all, meet()]) expect(await seenBy(one)).toEqual(wanted);
      const [first, second, third] = all;
      await first!.membership.remove(second!.id);
      await third!.membership.remove(third!.id);
      const left = ids.filter((id) => id !== second!.id && id !== third!.id);
      for (const one of [first!, meet()]) {
        expect((await seenBy(one)).map(({ id }) => id)).toEqual(left);
      }
      await second!.membership.announce(record(second!.id, 3));
      expect((await seenBy(first!)).find(({ id }) => id === second!.id)?.beat).toBe(3);
      await Promise.all(all.map(({ membership }) => membership.close()));
    }));

  it('share the tables, give them to newcomers, and take over from one that dies', () =>
    withPlace(meeting, async (place) => {
      const history = longHistory!;
      const third = Math.floor(history.cuts.length / 3);
      const { changeLog, lake } = place.given;
      const workers = [startWorker(place, 'one')];
      await vi.waitUntil(() => isDivided(workers), patience);
      await write(changeLog, history, [0, third]);
      workers.push(startWorker(place, 'two'), startWorker(place, 'three'));
      await write(changeLog, history, [third + 1, 2 * third]);
      await vi.waitUntil(() => isDivided(workers), patience);
      // No worker was fenced: shares changed hands only after they were let go of.
      expect(workers.flatMap(({ fenced }) => fenced)).toEqual([]);
      const [dead, ...living] = workers;
      dead!.freezer.freeze();
      await write(changeLog, history, [2 * third + 1, history.cuts.length - 1]);
      await vi.waitUntil(() => isDivided(living), patience);
      await expectAll(lake, history);
      expect(living.some(({ gone }) => gone.some(({ host }) => host === 'one'))).toBe(true);
      await stopAll(workers);
    }));

  it('a zombie that wakes up in the middle of a batch changes nothing, and works with the others again', () =>
    withPlace(meeting, async (place) => {
      const history = longHistory!;
      const half = Math.floor(history.cuts.length / 2);
      const { changeLog, lake } = place.given;
      const [zombie, other] = [startWorker(place, 'zombie'), startWorker(place, 'other')];
      await vi.waitUntil(() => isDivided([zombie, other]), patience);
      await write(changeLog, history, [0, half]);
      await vi.waitUntil(() => zombie.opened.length > 0, patience);
      let stuck = 0;
      zombie.beforeApply = () => {
        stuck += 1;
        zombie.freezer.freeze();
      };
      await write(changeLog, history, [half + 1, history.cuts.length - 1]);
      await vi.waitUntil(() => stuck > 0, patience);
      await vi.waitUntil(() => isDivided([other]), patience);
      await expectAll(lake, history);
      zombie.beforeApply = () => {};
      zombie.freezer.thaw();
      await vi.waitUntil(() => zombie.fenced.length > 0, patience);
      await expectAll(lake, history);
      // As a newcomer it gets its part again.
      await vi.waitUntil(() => isDivided([zombie, other]), patience);
      expect(zombie.opened.length).toBeGreaterThan(zombie.fenced.length);
      await stopAll([zombie, other]);
      await expectAll(lake, history);
    }));
});

it('whatever workers freeze and thaw whenever, the lake becomes the source and holds each record once', async () => {
  const event = fc.record({
    worker: fc.nat(2),
    what: fc.constantFrom('freeze' as const, 'thaw' as const, 'restart' as const),
    afterTransactions: fc.nat(6),
  });
  const cases = fc.record({
    commands: commandsArbitrary(60),
    events: fc.array(event, { maxLength: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(cases, ({ commands, events }) =>
      withPlace('topic', async (place) => {
        const history = runHistory(commands);
        const { changeLog, lake } = place.given;
        const workers = ['one', 'two', 'three'].map((name) => startWorker(place, name));
        const old: TestWorker[] = [];
        let written = 0;
        for (const { worker, what, afterTransactions } of events) {
          const to = Math.min(history.cuts.length - 1, written + afterTransactions);
          await write(changeLog, history, [written, to]);
          written = to + 1;
          if (what === 'thaw') workers[worker]!.freezer.thaw();
          else workers[worker]!.freezer.freeze();
          if (what !== 'restart') continue;
          old.push(workers[worker]!);
          workers[worker] = startWorker(place, `again ${old.length}`);
        }
        await write(changeLog, history, [written, history.cuts.length - 1]);
        const isFrozen = workers.every(
          (_, index) => events.findLast(({ worker }) => worker === index)?.what === 'freeze',
        );
        if (isFrozen) workers[0]!.freezer.thaw();
        await expectAll(lake, history);
        for (const { freezer } of [...workers, ...old]) freezer.thaw();
        await expectAll(lake, history);
        await stopAll([...workers, ...old]);
        expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
      }),
    ),
    { numRuns: 40 },
  );
});

it('a lake that is divided otherwise is refused: a table would have no checkpoint that speaks for it', async () => {
  const lake = new MemoryLake();
  await new MemorySink(lake, { share: 0, shareCount: 4 }).open();
  await expect(new MemorySink(lake, { share: 0, shareCount: 5 }).open()).rejects.toMatchObject({
    kind: 'config-invalid',
    message: "the lake's tables are divided into 4 shares, not 5",
  });
});

it('a worker that cannot meet the others loads nothing, and ends with the reason after its time', async () => {
  const file = path.join(os.tmpdir(), `tributary-no-folder-${process.pid}`);
  await writeFile(file, '');
  try {
    await withPlace('folder', async (place) => {
      // A file is where the folder should be.
      const limits = { lookEveryMs: 5, giveUpAfterMs: 50 };
      const worker = startWorker({ ...place, folder: file, limits }, 'one');
      await expect(worker.ended).rejects.toMatchObject({
        kind: 'sink-failed',
        message: `the workers of sink lake cannot meet in folder ${file}`,
      });
      expect(worker.opened).toEqual([]);
    });
  } finally {
    await rm(file);
  }
});
