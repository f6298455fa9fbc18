import { PipelineError } from '../runtime/errors.ts';
import { runProcess } from '../runtime/run-process.ts';

export interface PythonInterpreter {
  readonly path: string;
  /** "3.12.1" */
  readonly version: string;
}

interface Candidate extends PythonInterpreter {
  readonly minor: number;
  /** Has venv and ensurepip; Debian ships them apart. */
  readonly complete: boolean;
}

const minorMin = 10;
/** The newest minor version that the lock file was tried on; a newer one is taken only if there is no other. */
const minorMax = 13;
const names = ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python'];

const probe = `
import importlib.util as u, sys
print('|'.join([sys.executable, '.'.join(map(str, sys.version_info[:3])),
    str(all(u.find_spec(m) for m in ('venv', 'ensurepip')))]))
`;

/**
 * Finds an interpreter to make environments from: the one that TRIBUTARY_PYTHON names, else the first of
 * the usual names that is new enough. Version managers put a file of each name on the path that may
 * refuse to run, so each is asked. Throws `setup-failed`.
 */
export async function findPython(env: NodeJS.ProcessEnv): Promise<PythonInterpreter> {
  const wished = env['TRIBUTARY_PYTHON'];
  const found: Candidate[] = [];
  for (const name of wished === undefined ? names : [wished]) {
    const candidate = await ask(name, env);
    if (candidate === null) continue;
    if (candidate.complete && candidate.minor >= minorMin && candidate.minor <= minorMax)
      return candidate;
    found.push(candidate);
  }
  const newer = found.find((candidate) => candidate.complete && candidate.minor > minorMax);
  if (newer !== undefined) return newer;
  throw notFound(wished, found);
}

async function ask(name: string, env: NodeJS.ProcessEnv): Promise<Candidate | null> {
  const result = await runProcess(name, ['-c', probe], { env }).catch(() => null);
  const match = /^(.+)\|(3\.(\d+)\.\d+)\|(True|False)$/m.exec(
    result?.exitCode === 0 ? result.output : '',
  );
  const [, executable, version, minor, complete] = match ?? [];
  if (executable === undefined || version === undefined) return null;
  return { path: executable, version, minor: Number(minor), complete: complete === 'True' };
}

function notFound(wished: string | undefined, found: readonly Candidate[]): PipelineError {
  const seen = [
    ...new Set(
      found.map((one) => `${one.path} is ${one.version}${one.complete ? '' : ' without venv'}`),
    ),
  ];
  const looked =
    wished === undefined
      ? `none of ${names.join(', ')}`
      : `TRIBUTARY_PYTHON (${wished}) does not lead to`;
  const message =
    wished === undefined
      ? `${looked} is a Python of at least 3.${minorMin} with the venv module`
      : `${looked} a Python of at least 3.${minorMin} with the venv module`;
  return new PipelineError(
    'setup-failed',
    seen.length === 0 ? message : `${message}: ${seen.join(', ')}`,
    {
      hint: `install Python 3.${minorMin} or newer (Debian, Ubuntu: apt-get install python3-venv), or set TRIBUTARY_PYTHON to its path`,
    },
  );
}
