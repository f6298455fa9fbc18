import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureCachedFolder } from '../runtime/cached-folder.ts';
import { PipelineError } from '../runtime/errors.ts';
import { findPython, type PythonInterpreter } from './find-python.ts';
import { runProcess } from '../runtime/run-process.ts';
import type { Engine } from './staging/column-family.ts';

export interface PythonEnvironment {
  /** The environment's folder. */
  readonly path: string;
  /** Its interpreter. dbt is `python -m dbt.cli.main …`: no script with a path of its own. */
  readonly python: string;
}

export interface PythonEnvironmentOptions {
  /** The checkout: holds the lock files in `dbt/`, and `.cache/` unless TRIBUTARY_CACHE says otherwise. */
  readonly projectRoot: string;
  /** Whose adapter of dbt it holds. BigQuery's is three times as large: it is left out elsewhere. */
  readonly engine: Engine;
  readonly onProgress?: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
}

const uvVersion = '0.13.9';
const reasonLinesMax = 6;

interface Packages {
  readonly lock: string;
  /** For the one who waits. */
  readonly what: string;
  readonly imports: string;
}

const packagesOf: Readonly<Record<Engine, Packages>> = {
  duckdb: {
    lock: 'requirements.lock.txt',
    what: 'dbt with its DuckDB adapter (about 220 MB, once)',
    imports: 'import dbt.cli.main, dbt.adapters.duckdb, duckdb',
  },
  bigquery: {
    lock: 'requirements-bigquery.lock.txt',
    what: 'dbt with its BigQuery adapter (about 650 MB, once)',
    imports: 'import dbt.cli.main, dbt.adapters.bigquery',
  },
};

/**
 * Gives the Python environment that dbt runs in, made on first use and kept in the cache folder under the
 * hash of its lock file, so another lock makes another environment. Throws `setup-failed`.
 */
export async function ensurePythonEnvironment(
  options: PythonEnvironmentOptions,
): Promise<PythonEnvironment> {
  const env = options.env ?? process.env;
  const lockPath = path.join(options.projectRoot, 'dbt', packagesOf[options.engine].lock);
  const lock = await readFile(lockPath, 'utf8').catch((cause: unknown) => {
    throw new PipelineError('setup-failed', `cannot read ${lockPath}`, { cause });
  });
  const hash = createHash('sha256')
    .update(`${uvVersion}\n${process.platform}-${process.arch}\n${lock}`)
    .digest('hex');
  const folder = await ensureCachedFolder({
    ...options,
    name: `python-${hash.slice(0, 12)}`,
    what: 'the Python environment',
    works,
    build: (at) => build({ folder: at, lockPath, options, env }),
  });
  return environmentAt(folder);
}

function environmentAt(folder: string): PythonEnvironment {
  return { path: folder, python: pythonOf(folder) };
}

const pythonOf = (folder: string) => path.join(folder, 'bin', 'python');

/** The interpreter it was made from may have been removed since: then the link dangles. */
async function works(folder: string): Promise<boolean> {
  if (!existsSync(pythonOf(folder))) return false;
  const result = await runProcess(pythonOf(folder), ['-c', 'import sys']).catch(() => null);
  return result?.exitCode === 0;
}

interface BuildInput {
  readonly folder: string;
  readonly lockPath: string;
  readonly options: PythonEnvironmentOptions;
  readonly env: NodeJS.ProcessEnv;
}

async function build({ folder, lockPath, options, env }: BuildInput): Promise<void> {
  const say = options.onProgress ?? (() => {});
  const python = await findPython(env);
  const run = (step: string, command: string, args: readonly string[]) =>
    runStep(step, {
      command,
      args,
      env,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  say(`making a Python ${python.version} environment`);
  await createVenv(python, folder, run);
  const { what, imports } = packagesOf[options.engine];
  say(`installing ${what}`);
  await installPackages(folder, lockPath, run);
  await run('starting dbt', pythonOf(folder), ['-c', imports]);
  say('the Python environment is ready');
}

type RunStep = (step: string, command: string, args: readonly string[]) => Promise<void>;

async function createVenv(python: PythonInterpreter, folder: string, run: RunStep): Promise<void> {
  try {
    await run('making a virtual environment', python.path, ['-m', 'venv', folder]);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    throw new PipelineError('setup-failed', error.message, {
      hint: 'install the venv module (Debian, Ubuntu: apt-get install python3-venv), or set TRIBUTARY_PYTHON',
      cause: error,
    });
  }
}

/**
 * uv installs the hundred packages in seconds, and `--no-deps` is what keeps the lock complete: dbt-core
 * names a parser preview that would download from elsewhere while it builds, and that nothing here uses.
 * Where uv cannot reach the packages (it does not read pip's own configuration), pip does the same.
 */
async function installPackages(folder: string, lockPath: string, run: RunStep): Promise<void> {
  const python = pythonOf(folder);
  const pip = [
    python,
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-deps',
  ] as const;
  const withPip = (...args: readonly string[]) =>
    run('installing packages', pip[0], [...pip.slice(1), ...args]);
  await withPip(`uv==${uvVersion}`);
  const args = [
    '-m',
    'uv',
    'pip',
    'install',
    '--quiet',
    '--python',
    python,
    '--no-deps',
    '-r',
    lockPath,
  ];
  await run('installing packages with uv', python, args).catch(() => withPip('-r', lockPath));
}

interface StepCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

/**
 * The variables without another Python's settings. Bytecode is written even where a container image says
 * not to: without it every start of dbt compiles its hundred packages anew, for several seconds.
 */
export function ownPythonEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const {
    VIRTUAL_ENV: _outer,
    PYTHONHOME: _home,
    PYTHONPATH: _path,
    PYTHONDONTWRITEBYTECODE: _unwritten,
    ...clean
  } = env;
  return clean;
}

async function runStep(step: string, { command, args, env, signal }: StepCommand): Promise<void> {
  const options = { env: ownPythonEnv(env), ...(signal === undefined ? {} : { signal }) };
  const result = await runProcess(command, args, options).catch((cause: unknown) => {
    throw new PipelineError('setup-failed', `${step} failed: ${command} could not run`, { cause });
  });
  if (result.exitCode === 0) return;
  // A package index may be configured with a password in its address.
  const said = result.output
    .replaceAll(/\/\/[^\s/@]+@/g, '//…@')
    .trim()
    .split('\n');
  throw new PipelineError(
    'setup-failed',
    `${step} failed (exit ${result.exitCode}): ${said.slice(-reasonLinesMax).join('\n')}`,
    {
      hint: 'check that Python packages can be installed on this machine, then start again',
    },
  );
}
