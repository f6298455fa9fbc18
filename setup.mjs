// `npm start` and `npm test` on a fresh clone: installs what is missing, then runs Tributary with the
// Node that came with it. Written for any Node from 20 on, and so that an older one can still read it
// and say so. When nothing is to do it costs a few milliseconds.
//
//   node setup.mjs start [command] [options]    tributary.ts; `demo` unless a command is named
//   node setup.mjs test [options]               vitest run
import { spawn, spawnSync } from 'child_process';
import { existsSync, readFileSync, statSync } from 'fs';
import { constants } from 'os';
import { dirname, join } from 'path';
import { fileURLToPath } from 'url';

const nodeMajorMin = 20;
const pythonMinorMin = 10;
/** The `node` package unpacks a binary of some 100 MB; a stub or a torn download is far smaller. */
const nodeBinaryBytesMin = 10 * 1024 * 1024;

const root = dirname(fileURLToPath(import.meta.url));
const modules = join(root, 'node_modules');
const nodeBinary = join(modules, 'node', 'bin', 'node');

function main() {
  const [task, ...rest] = process.argv.slice(2);
  const words = rest[0] === '--' ? rest.slice(1) : rest;
  if (task !== 'start' && task !== 'test')
    return fail('usage: node setup.mjs start|test [options]', 2);
  const major = Number(process.versions.node.split('.')[0]);
  if (major < nodeMajorMin) {
    return fail(
      `Node ${process.versions.node} is too old: install Node ${nodeMajorMin} or newer, then try again`,
      2,
    );
  }
  if (!isInstalled()) {
    const problem = install();
    if (problem !== undefined) return fail(problem, 6);
    warnWithoutPython();
  }
  if (!hasNodeBinary()) {
    return fail(
      `Node 24 from the npm package "node" did not unpack (${nodeBinary} is missing or too small).\n` +
        'Its install script may be switched off: try `npm config delete ignore-scripts`, then `npm rebuild node`,\n' +
        'or delete node_modules and try again.',
      6,
    );
  }
  return run(task === 'test' ? testWords(words) : startWords(words));
}

function startWords(words) {
  // Options alone are the demo's; those that ask about the program are its own.
  const asks = ['--help', '-h', '--version'].includes(words[0]);
  const isCommand = words.length > 0 && (asks || !words[0].startsWith('-'));
  return [join(root, 'tributary.ts'), ...(isCommand ? [] : ['demo']), ...words];
}

function testWords(words) {
  return [join(modules, 'vitest', 'vitest.mjs'), 'run', ...words];
}

/** True when node_modules holds what package-lock.json asks for on this machine. */
function isInstalled() {
  const wanted = readLock(join(root, 'package-lock.json'));
  // npm writes this file last, so after an interrupted install it is missing or old.
  const present = readLock(join(modules, '.package-lock.json'));
  if (wanted === undefined || present === undefined) return false;
  return Object.keys(wanted).every((name) => {
    if (name === '') return true;
    const { version, optional } = wanted[name];
    // Optional packages are left out where they are made for another system.
    return present[name] === undefined ? optional === true : present[name].version === version;
  });
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Installs; gives the sentence to fail with, or undefined. */
function install() {
  console.error('Setting up (once; again when package-lock.json changes): npm ci');
  const started = Date.now();
  // npm tells its scripts where it is; another package manager's path would not understand `ci`.
  const fromNpm = process.env.npm_execpath;
  const isNpm = fromNpm !== undefined && /npm-cli\.c?js$/.test(fromNpm) && existsSync(fromNpm);
  const program = isNpm ? process.execPath : 'npm';
  const words = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const done = spawnSync(program, isNpm ? [fromNpm, ...words] : words, {
    cwd: root,
    stdio: 'inherit',
  });
  if (done.error !== undefined) {
    return `npm could not be started (${done.error.message}): install npm, or run \`npm ci\` in ${root} yourself`;
  }
  if (done.signal !== null)
    return `npm ci was ended by ${done.signal}: start again to finish the set-up`;
  if (done.status !== 0) {
    return `npm ci failed with exit code ${done.status}: its own words are above; check network, disk space and permissions of ${root}`;
  }
  console.error(`Set up in ${Math.round((Date.now() - started) / 1000)} s.`);
  return undefined;
}

function hasNodeBinary() {
  try {
    const file = statSync(nodeBinary);
    return file.size >= nodeBinaryBytesMin && (file.mode & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** Only a warning: everything but the models works without. */
function warnWithoutPython() {
  const candidates = ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python'];
  const isFound = candidates.some((name) => {
    const { stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' });
    const version = /^Python 3\.(\d+)/.exec(stdout || '');
    return version !== null && Number(version[1]) >= pythonMinorMin;
  });
  if (!isFound)
    console.error(
      `Python 3.${pythonMinorMin} or newer was not found: the models (dbt) need it, everything else works.`,
    );
}

/** Runs Node 24 in our place: same terminal, same signals, same exit code. */
function run(words) {
  const path = `${join(modules, '.bin')}:${process.env.PATH || ''}`;
  const child = spawn(nodeBinary, words, { stdio: 'inherit', env: { ...process.env, PATH: path } });
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => child.kill(name));
  child.on('error', (error) => fail(`${nodeBinary} could not be started: ${error.message}`, 6));
  child.on('exit', (code, signal) => {
    process.exitCode = signal === null ? code : 128 + constants.signals[signal];
  });
}

function fail(message, exitCode) {
  console.error(`setup: ${message}`);
  process.exitCode = exitCode;
}

main();
