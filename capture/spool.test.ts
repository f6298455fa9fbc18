import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Spool } from './spool.ts';

async function withSpool(
  options: { readonly bufferBytes: number; readonly openFilesMax: number },
  use: (spool: Spool, dir: string) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-spool-'));
  const spool = new Spool({ path: path.join(dir, 'spool'), ...options });
  try {
    await spool.open();
    await use(spool, path.join(dir, 'spool'));
  } finally {
    await spool.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function readAll(spool: Spool, xid: number): Promise<string[]> {
  const found: string[] = [];
  for await (const messages of spool.read(xid)) {
    for (const { bytes, lsn } of messages) found.push(`${lsn}:${bytes.toString('hex')}`);
  }
  return found;
}

test('each transaction comes back whole and in order, without its aborted parts', async () => {
  const message = fc.record({
    top: fc.integer({ min: 1, max: 5 }),
    sub: fc.integer({ min: 1, max: 4 }),
    bytes: fc.uint8Array({ maxLength: 300 }),
  });
  const sub = fc.record({
    top: fc.integer({ min: 1, max: 5 }),
    sub: fc.integer({ min: 1, max: 4 }),
  });
  const limits = fc.record({
    bufferBytes: fc.integer({ min: 1, max: 2000 }),
    openFilesMax: fc.integer({ min: 1, max: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(
      limits,
      fc.array(message, { maxLength: 80 }),
      fc.array(sub),
      (...arbitrary) => {
        const [options, messages, aborted] = arbitrary;
        return withSpool(options, async (spool) => {
          const expected = new Map<number, string[]>();
          for (const [index, { top, sub: part, bytes }] of messages.entries()) {
            spool.add(top, top * 10 + part, { bytes: Buffer.from(bytes), lsn: BigInt(index) });
          }
          for (const { top, sub: part } of aborted) spool.abort(top, top * 10 + part);
          for (const [index, { top, sub: part, bytes }] of messages.entries()) {
            if (aborted.some((other) => other.top === top && other.sub === part)) continue;
            const list = expected.get(top) ?? [];
            list.push(`${index}:${Buffer.from(bytes).toString('hex')}`);
            expected.set(top, list);
          }
          for (let top = 1; top <= 5; top += 1) {
            expect(await readAll(spool, top)).toEqual(expected.get(top) ?? []);
            spool.drop(top);
          }
          expect(spool.bytes).toBe(0);
        });
      },
    ),
    { numRuns: 40 },
  );
});

test('a message larger than a block of the reader is read whole', async () => {
  await withSpool({ bufferBytes: 1 << 16, openFilesMax: 4 }, async (spool) => {
    const bytes = Buffer.alloc(3 << 20, 7);
    spool.add(1, 1, { bytes, lsn: 1n });
    spool.add(1, 1, { bytes: Buffer.of(1), lsn: 2n });
    expect((await readAll(spool, 1)).map((text) => text.length)).toEqual([2 + (6 << 20), 4]);
  });
});

test('a dropped transaction leaves no file', async () => {
  await withSpool({ bufferBytes: 1, openFilesMax: 4 }, async (spool, dir) => {
    spool.add(1, 1, { bytes: Buffer.of(1), lsn: 1n });
    expect(await readdir(dir)).toEqual(['1.spool']);
    spool.drop(1);
    expect(await readdir(dir)).toEqual([]);
  });
});
