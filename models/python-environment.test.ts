import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findPython } from './find-python.ts';
import { ensurePythonEnvironment, ownPythonEnv } from './python-environment.ts';

test("both engines' environments hold the same versions", async () => {
  const [duckdb, bigquery] = await Promise.all(
    ['requirements.lock.txt', 'requirements-bigquery.lock.txt'].map(async (lock) => {
      const text = await readFile(path.join(import.meta.dirname, '../dbt', lock), 'utf8');
      return text.trimEnd().split('\n');
    }),
  );
  expect(duckdb?.length).toBeGreaterThan(50);
  expect(duckdb?.filter((line) => !bigquery?.includes(line))).toEqual([]);
  expect(duckdb?.some((line) => line.startsWith('google-'))).toBe(false);
});

describe('the Python environment', () => {
  let dir: string;
  let env: NodeJS.ProcessEnv;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-python-'));
    await mkdir(path.join(dir, 'bin'));
    await mkdir(path.join(dir, 'dbt'));
    await writeFile(path.join(dir, 'dbt/requirements.lock.txt'), 'nothing==1\n');
    env = { PATH: path.join(dir, 'bin') };
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const script = async (name: string, body: string) => {
    await writeFile(path.join(dir, 'bin', name), `#!/bin/sh\n${body}\n`);
    await chmod(path.join(dir, 'bin', name), 0o755);
  };
  const answer = (version: string, complete = 'True') =>
    `echo "/opt/python|${version}|${complete}"`;

  test('is made by the first interpreter that answers and is new enough', async () => {
    await script('python3', answer('3.8.1'));
    await script('python3.13', 'echo "not found" >&2; exit 127');
    await script('python3.12', answer('3.12.4'));
    expect(await findPython(env)).toMatchObject({ version: '3.12.4' });
  });

  test('is made by a version newer than tried only when there is no other', async () => {
    await script('python3', answer('3.14.0'));
    expect(await findPython(env)).toMatchObject({ version: '3.14.0' });
    await script('python3.11', answer('3.11.0'));
    expect(await findPython(env)).toMatchObject({ version: '3.11.0' });
  });

  test.each([
    ['none', undefined, /none of python3, .* is a Python of at least 3\.10/],
    ['one that is too old', answer('3.9.2'), /3\.9\.2/],
    ['one without venv', answer('3.11.2', 'False'), /3\.11\.2 without venv/],
  ])('is refused with what was found when there is %s', async (_name, body, message) => {
    if (body !== undefined) await script('python3', body);
    await expect(findPython(env)).rejects.toThrow(message);
    await expect(findPython(env)).rejects.toMatchObject({ kind: 'setup-failed' });
  });

  test('takes the interpreter that TRIBUTARY_PYTHON names, or says that it is unfit', async () => {
    await script('python3', answer('3.11.0'));
    const own = { ...env, TRIBUTARY_PYTHON: path.join(dir, 'bin/missing') };
    await expect(findPython(own)).rejects.toThrow(/TRIBUTARY_PYTHON/);
  });

  test('runs without the settings of another Python, and may keep its bytecode', () => {
    const other = { PYTHONPATH: '/opt', VIRTUAL_ENV: '/opt', PYTHONDONTWRITEBYTECODE: '1' };
    expect(ownPythonEnv({ ...env, ...other })).toEqual(env);
  });

  test('leaves nothing behind when it cannot be made, not even of one that was killed', async () => {
    await script(
      'python3',
      `case "$1" in -m) echo "no such module" >&2; exit 1;; esac; ${answer('3.11.0')}`,
    );
    const cache = path.join(dir, 'cache');
    const options = {
      projectRoot: dir,
      engine: 'duckdb' as const,
      env: { ...env, TRIBUTARY_CACHE: cache },
    };
    await expect(ensurePythonEnvironment(options)).rejects.toMatchObject({ kind: 'setup-failed' });
    expect(await readdir(cache)).toEqual([]);
  });
});
