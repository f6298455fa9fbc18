import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

/** A clone of the repository as setup.mjs sees it, with an npm that only says what it was asked. */
let clone: string;
beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'tributary-setup-'));
  cpSync(join(import.meta.dirname, 'setup.mjs'), join(clone, 'setup.mjs'));
  mkdirSync(join(clone, 'npm'));
  writeLock('package-lock.json', {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b': { version: '2.0.0', optional: true },
  });
});
afterEach(() => rmSync(clone, { recursive: true }));

type Packages = Readonly<
  Record<string, { readonly version?: string; readonly optional?: boolean }>
>;

function writeLock(name: string, packages: Packages): void {
  writeFileSync(join(clone, name), JSON.stringify({ packages }));
}

/** node_modules as npm leaves it; its "Node 24" is a script that prints its arguments, then runs `then`. */
function installModules(then = '', folder = clone): void {
  const bin = join(folder, 'node_modules', 'node', 'bin');
  mkdirSync(bin, { recursive: true });
  mkdirSync(join(folder, 'node_modules', '.bin'), { recursive: true });
  const script = `#!/bin/sh\necho "$@"\n${then}\nexit 0\n`;
  // As large as a real binary, because a torn download is told by its size.
  writeFileSync(join(bin, 'node'), `${script}${'#'.repeat(11 * 1024 * 1024)}`);
  chmodSync(join(bin, 'node'), 0o755);
  writeFileSync(
    join(folder, 'node_modules', '.package-lock.json'),
    JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } }),
  );
}

/** An npm whose `ci` runs this JavaScript. */
function fakeNpm(body: string): string {
  const path = join(clone, 'npm', 'npm-cli.js');
  writeFileSync(
    path,
    `require('fs').writeFileSync(${JSON.stringify(join(clone, 'asked'))}, process.argv.slice(2).join(' '));\n${body}`,
  );
  return path;
}

function setUp(words: readonly string[], npm = fakeNpm('process.exit(9)')) {
  const env = { PATH: process.env['PATH'], npm_execpath: npm };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(clone, 'setup.mjs'), ...words],
    { env, encoding: 'utf8' },
  );
  return {
    exit: status,
    stdout: stdout.trim(),
    stderr,
    isInstalled: existsSync(join(clone, 'asked')),
  };
}

describe('when nothing is to do', () => {
  test.each([
    [['start'], 'tributary.ts demo'],
    [['start', '--', '--stay'], 'tributary.ts demo --stay'],
    [['start', '--seconds', '5'], 'tributary.ts demo --seconds 5'],
    [['start', '--help'], 'tributary.ts --help'],
    [['start', 'status', '--json'], 'tributary.ts status --json'],
    [['test'], 'node_modules/vitest/vitest.mjs run'],
    [['test', '--', '-t', 'name'], 'node_modules/vitest/vitest.mjs run -t name'],
  ])('%j runs Node 24 at once', (words, ran) => {
    installModules();
    expect(setUp(words)).toEqual({
      exit: 0,
      stdout: join(clone, ran),
      stderr: '',
      isInstalled: false,
    });
  });

  test('the exit code is that of the program', () => {
    installModules('exit 7');
    expect(setUp(['start']).exit).toBe(7);
  });

  test('a program that dies by a signal counts as shells count it', () => {
    installModules('kill -TERM $$');
    expect(setUp(['start']).exit).toBe(143);
  });
});

describe('packages are installed', () => {
  const install = () =>
    `require('child_process').execFileSync('cp', ['-r', ${JSON.stringify(join(clone, 'ready', 'node_modules'))}, ${JSON.stringify(clone)}]);`;

  test('when there are none', () => {
    installModules('', join(clone, 'ready'));
    const { exit, stdout, stderr } = setUp(['start'], fakeNpm(install()));
    expect(stderr).toContain('npm ci');
    expect({ exit, stdout }).toEqual({ exit: 0, stdout: join(clone, 'tributary.ts demo') });
    expect(readFileSync(join(clone, 'asked'), 'utf8')).toBe(
      'ci --include=dev --no-audit --no-fund --loglevel=error',
    );
    expect(setUp(['start']).exit).toBe(0);
  });

  test.each([
    ['one has another version', { 'node_modules/a': { version: '1.0.1' } }],
    [
      'one is new',
      { 'node_modules/a': { version: '1.0.0' }, 'node_modules/c': { version: '1.0.0' } },
    ],
  ])('when %s', (_case, wanted) => {
    installModules();
    writeLock('package-lock.json', wanted);
    expect(setUp(['start']).isInstalled).toBe(true);
  });

  test('when an install was interrupted', () => {
    installModules();
    rmSync(join(clone, 'node_modules', '.package-lock.json'));
    expect(setUp(['start']).isInstalled).toBe(true);
  });
});

describe('a failure says what to do', () => {
  test('npm failed', () => {
    const { exit, stderr } = setUp(['start']);
    expect(exit).toBe(6);
    expect(stderr).toContain('npm ci failed with exit code 9');
  });

  test.each([
    ['is missing', () => rmSync(join(clone, 'node_modules', 'node'), { recursive: true })],
    ['is a stub', () => writeFileSync(join(clone, 'node_modules', 'node', 'bin', 'node'), '')],
  ])('Node 24 %s', (_case, damage) => {
    installModules();
    damage();
    const { exit, stderr } = setUp(['test']);
    expect(exit).toBe(6);
    expect(stderr).toContain('Node 24 from the npm package "node" did not unpack');
    expect(stderr).toContain('npm rebuild node');
  });

  test('an unknown task', () => {
    expect(setUp(['build'])).toMatchObject({
      exit: 2,
      stderr: 'setup: usage: node setup.mjs start|test [options]\n',
    });
  });
});

test.each(['SIGINT', 'SIGTERM'] as const)('%s reaches the program', async (signal) => {
  installModules(
    `trap 'touch ${clone}/heard; exit 0' INT TERM\ntouch ${clone}/ready-for-it\nwhile :; do sleep 0.05; done`,
  );
  const child = spawn(process.execPath, [join(clone, 'setup.mjs'), 'start'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  await vi.waitUntil(() => existsSync(join(clone, 'ready-for-it')), { timeout: 20_000 });
  child.kill(signal);
  expect(await ended).toEqual([0, null]);
  expect(existsSync(join(clone, 'heard'))).toBe(true);
});
