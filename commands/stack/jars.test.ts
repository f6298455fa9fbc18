import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fetchJars } from './jars.ts';

let dir: string;
let env: NodeJS.ProcessEnv;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-jars-'));
  await mkdir(path.join(dir, 'bin'));
  env = {
    PATH: `${path.join(dir, 'bin')}:/usr/bin:/bin`,
    TRIBUTARY_CACHE: path.join(dir, 'cache'),
  };
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** A Maven that keeps its words, and does as the script says; `$out` is where it is to put files. */
async function fakeMaven(script: string): Promise<void> {
  const file = path.join(dir, 'bin', 'mvn');
  const find = `for word in "$@"; do case "$word" in -DoutputDirectory=*) out="\${word#*=}";; esac; done`;
  await writeFile(file, `#!/bin/sh\necho "$@" >> ${dir}/words\n${find}\n${script}\n`);
  await chmod(file, 0o755);
}

test('a file that is not what it should be, one too many and one too few are named, and nothing is kept', async () => {
  await fakeMaven('echo evil > $out/kafka-clients-4.3.1.jar; echo more > $out/stowaway.jar');
  const failure = await fetchJars('kafka', { env }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ kind: 'setup-failed' });
  const { message } = failure as Error;
  expect(message).toMatch(/^what was downloaded for Kafka is not what it should be: /);
  for (const name of ['kafka-clients-4.3.1.jar', 'stowaway.jar', 'kafka_2.13-4.3.1.jar'])
    expect(message).toContain(name);
  expect(await readdir(path.join(dir, 'cache'))).toEqual([]);
});

test('an archive is compared before it is unpacked', async () => {
  await fakeMaven('echo evil > $out/apicurio-registry-app-3.3.3-all.tar.gz');
  await expect(fetchJars('registry', { env })).rejects.toThrow(
    'what was downloaded for the schema registry is not what it should be: apicurio-registry-app-3.3.3-all.tar.gz',
  );
});

test('the versions that Maven is asked for are pinned', async () => {
  await fakeMaven(`case "$3" in -f) cat "$4" >> ${dir}/words;; esac; exit 1`);
  for (const name of ['kafka', 'registry', 'connect', 'debezium'] as const)
    await expect(fetchJars(name, { env })).rejects.toThrow(/Maven could not download/);
  const asked = await readFile(path.join(dir, 'words'), 'utf8');
  for (const artifact of ['kafka_2.13', 'connect-runtime', 'connect-json'])
    expect(asked).toContain(`<artifactId>${artifact}</artifactId><version>4.3.1</version>`);
  expect(asked).toContain('io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all');
  expect(asked).toContain('io.debezium:debezium-connector-postgres:3.6.3.Final:tar.gz:plugin');
});

test('without Maven it says so', async () => {
  const bare = { ...env, PATH: path.join(dir, 'bin') };
  await expect(fetchJars('kafka', { env: bare })).rejects.toMatchObject({
    kind: 'setup-failed',
    message: 'Maven (mvn) could not be started',
    hint: expect.stringContaining('install Maven'),
  });
});

test('what Maven says is passed on, without a password of its repository', async () => {
  await fakeMaven('echo "[ERROR] cannot reach https://me:hush@repository.example/maven2"; exit 1');
  const failure = await fetchJars('kafka', { env }).catch((error: unknown) => error);
  expect((failure as Error).message).toContain('cannot reach https://…@repository.example');
  expect((failure as Error).message).not.toContain('hush');
});
