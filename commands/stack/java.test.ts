import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findJava } from './java.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-java-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function fakeJava(folder: string, says: string): Promise<string> {
  const bin = path.join(dir, folder, 'bin');
  await mkdir(bin, { recursive: true });
  const java = path.join(bin, 'java');
  await writeFile(java, `#!/bin/sh\necho '${says}' >&2\n`);
  await chmod(java, 0o755);
  return java;
}

/** Nothing but what the test made: the machine has Javas of its own. */
const only = (env: Readonly<Record<string, string>>) => ({ env, jdkFolders: [] });

test('the oldest Java that is new enough is taken, of JAVA_HOME, PATH and the usual folders', async () => {
  const old = await fakeJava('old', 'openjdk version "17.0.9" 2023-10-17');
  const good = await fakeJava('jdks/temurin-21', 'openjdk version "21.0.1" 2023-10-17 LTS');
  await fakeJava('new', 'openjdk version "25" 2025-09-16');
  const where = {
    env: { JAVA_HOME: path.join(dir, 'new'), PATH: path.dirname(old) },
    jdkFolders: [path.join(dir, 'jdks')],
  };
  expect(await findJava(17, where)).toEqual({ path: old, major: 17 });
  expect(await findJava(21, where)).toEqual({ path: good, major: 21 });
  expect(await findJava(22, where)).toMatchObject({ major: 25 });
});

test('macOS keeps a Java deeper in its folder', async () => {
  const java = await fakeJava('jdks/jdk-21.jdk/Contents/Home', 'java version "21.0.2"');
  const where = { env: {}, jdkFolders: [path.join(dir, 'jdks')] };
  expect(await findJava(21, where)).toEqual({ path: java, major: 21 });
});

test('Java 8, which counts otherwise, is too old', async () => {
  const java = await fakeJava('eight', 'java version "1.8.0_391"');
  await expect(findJava(17, only({ PATH: path.dirname(java) }))).rejects.toThrow(
    `Java 17 or newer is needed; found: 8 (${java})`,
  );
});

test('none at all is said, with what to do', async () => {
  await expect(findJava(21, only({ PATH: dir }))).rejects.toMatchObject({
    kind: 'setup-failed',
    message: 'Java 21 or newer is needed; found: none',
    hint: expect.stringContaining('JAVA_HOME'),
  });
});
