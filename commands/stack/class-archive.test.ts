import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { classArchiveFlags } from './class-archive.ts';

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(path.join(os.tmpdir(), 'tributary-classes-'));
});
afterEach(() => rm(cache, { recursive: true, force: true }));

/** What a JVM does with `-XX:ArchiveClassesAtExit=FILE` when it ends. */
async function dump(flags: readonly string[]): Promise<void> {
  const file = /^-XX:ArchiveClassesAtExit=(.*)$/.exec(flags[0] ?? '')?.[1] ?? '';
  await writeFile(file, 'classes');
}

function request(warmUp: (dir: string, flags: readonly string[]) => Promise<void>, major = 17) {
  const java = { path: '/usr/bin/java', major };
  const env = { TRIBUTARY_CACHE: cache };
  return classArchiveFlags({ what: 'Kafka', java, jars: '/jars/*', env, warmUp });
}

test('the archive is made once for each Java, and then used', async () => {
  let warmUps = 0;
  const warmUp = async (dir: string, flags: readonly string[]) => {
    warmUps += 1;
    await mkdir(dir);
    await dump(flags);
  };
  const flags = await request(warmUp);
  expect(flags).toEqual([expect.stringMatching(/^-XX:SharedArchiveFile=.*\/classes\.jsa$/)]);
  expect(await request(warmUp)).toEqual(flags);
  expect(warmUps).toBe(1);
  expect(await request(warmUp, 21)).not.toEqual(flags);
  expect(warmUps).toBe(2);
});

test('where it cannot be made servers start without it, and nobody tries again', async () => {
  let warmUps = 0;
  const warmUp = async (_dir: string, flags: readonly string[]) => {
    warmUps += 1;
    await dump(flags);
    throw new Error('the server did not start');
  };
  expect(await request(warmUp)).toEqual([]);
  expect(await request(warmUp)).toEqual([]);
  expect(warmUps).toBe(1);
});
