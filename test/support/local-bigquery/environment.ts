import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findPython, type PythonInterpreter } from '../../../models/find-python.ts';
import { ownPythonEnv } from '../../../models/python-environment.ts';
import { ensureCachedFolder } from '../../../runtime/cached-folder.ts';
import { runProcess } from '../../../runtime/run-process.ts';

const projectRoot = fileURLToPath(new URL('../../..', import.meta.url));
const lockPath = fileURLToPath(new URL('requirements.lock.txt', import.meta.url));
const uvVersion = '0.13.9';

/** The emulator takes no other minor version: its lock file was resolved for this one. */
const pythonName = 'python3.13';
/** pyenv's file of that name runs only where this version is chosen; others pay no attention. */
const pythonEnv = { ...process.env, TRIBUTARY_PYTHON: pythonName, PYENV_VERSION: '3.13' };

/**
 * Why the emulator of BigQuery cannot run here, or null. Never on a build machine: half a gigabyte of
 * packages is not fetched there, and the fake of BigQuery holds the line.
 */
export async function lacksLocalBigQuery(): Promise<string | null> {
  if (process.env['CI'] !== undefined) return 'not on a build machine';
  return findPython(pythonEnv).then(
    ({ version }) => (version.startsWith('3.13.') ? null : `${pythonName} is ${version}`),
    () => 'Python 3.13 is missing',
  );
}

/** How to run Python where the emulator is installed. */
export interface LocalBigQueryEnvironment {
  readonly python: string;
  /** DuckDB finds the extensions that the emulator needs below HOME. */
  readonly env: NodeJS.ProcessEnv;
}

/** The emulator in the versions of its lock file, kept in the cache. Throws `setup-failed`. */
export async function ensureLocalBigQuery(): Promise<LocalBigQueryEnvironment> {
  const hash = createHash('sha256').update(await readFile(lockPath));
  const folder = await ensureCachedFolder({
    projectRoot,
    name: `local-bigquery-${hash.digest('hex').slice(0, 12)}`,
    what: 'the emulator of BigQuery',
    works: async (at) => existsSync(environmentAt(at).python),
    build: async (at) => build(at, await findPython(pythonEnv)),
  });
  return environmentAt(folder);
}

function environmentAt(folder: string): LocalBigQueryEnvironment {
  const python = path.join(folder, 'bin', 'python');
  return { python, env: { ...ownPythonEnv(process.env), HOME: path.join(folder, 'home') } };
}

/** The extensions come as packages of the lock too, so that DuckDB downloads nothing when it needs them. */
const installExtensions = `
from duckdb_extensions import import_extension
for name in ("icu", "ducklake"):
    import_extension(name)
`;

async function build(folder: string, interpreter: PythonInterpreter): Promise<void> {
  const { python, env: runEnv } = environmentAt(folder);
  const env = ownPythonEnv(process.env);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
  const uv = ['-m', 'uv', 'pip', 'install', '--quiet', '--python', python];
  await succeed(interpreter.path, ['-m', 'venv', folder], env);
  await succeed(python, [...pip, `uv==${uvVersion}`], env);
  const packages = ['--no-deps', '--require-hashes', '-r', lockPath];
  await succeed(python, [...uv, ...packages], env).catch(() =>
    succeed(python, [...pip, ...packages], env),
  );
  await mkdir(path.join(folder, 'home'), { recursive: true });
  await succeed(python, ['-c', installExtensions], runEnv);
}

async function succeed(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const { exitCode, output } = await runProcess(program, args, { env });
  if (exitCode !== 0) throw new Error(`${program} ended with ${exitCode}: ${output.slice(-2000)}`);
}
