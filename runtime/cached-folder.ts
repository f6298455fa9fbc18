import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, unlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PipelineError } from './errors.ts';

/** How long to wait for another process that makes the same folder, before making it too. */
const setupWaitMsMax = 15 * 60_000;
const setupPollMs = 300;

export interface CachedFolderOptions {
  /** The checkout: holds `.cache/`, unless TRIBUTARY_CACHE says otherwise. */
  readonly projectRoot: string;
  /** Names its content, version included: another content has another name. */
  readonly name: string;
  /** "the Python environment": for messages. */
  readonly what: string;
  /** True when the folder holds what it should. */
  readonly works: (folder: string) => Promise<boolean>;
  /** Fills a new folder, which does not exist yet. */
  readonly build: (folder: string) => Promise<void>;
  readonly onProgress?: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Gives a folder of the cache, made on first use. Two processes may ask at once, and one may be killed
 * half-way: it is built under a name of its own and renamed into place when it works, so one that exists
 * is whole. Throws `setup-failed`.
 */
export async function ensureCachedFolder(options: CachedFolderOptions): Promise<string> {
  const env = options.env ?? process.env;
  const cache = path.resolve(env['TRIBUTARY_CACHE'] ?? path.join(options.projectRoot, '.cache'));
  const target = path.join(cache, options.name);
  if (await options.works(target)) return target;
  await mkdir(cache, { recursive: true });
  await using _lock = await lockSetup(`${target}.lock`, options);
  if (await options.works(target)) return target;
  await removeAbandoned(target);
  const folder = `${target}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  try {
    await options.build(folder);
    await moveIntoPlace(folder, target, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return target;
}

/** The loser of a race finds the winner's whole folder in place, and uses that. */
async function moveIntoPlace(
  folder: string,
  target: string,
  { what, works }: CachedFolderOptions,
): Promise<void> {
  try {
    await rename(folder, target);
  } catch (cause) {
    if (await works(target)) return;
    await rm(target, { recursive: true, force: true });
    await rename(folder, target).catch(() => {
      throw new PipelineError('setup-failed', `cannot put ${what} at ${target}`, { cause });
    });
  }
}

/**
 * Saves two processes the double work; safety does not rest on it but on the rename. So a lock whose
 * owner is dead is simply removed, and one that is held for too long is passed over.
 */
async function lockSetup(file: string, options: CachedFolderOptions): Promise<AsyncDisposable> {
  const giveUpAt = Date.now() + setupWaitMsMax;
  let told = false;
  for (;;) {
    options.signal?.throwIfAborted();
    if (await tryLock(file)) return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
    const owner = Number(await readFile(file, 'utf8').catch(() => ''));
    if (!isAlive(owner)) await unlink(file).catch(() => {});
    else if (Date.now() > giveUpAt) return { [Symbol.asyncDispose]: async () => {} };
    else if (!told) {
      options.onProgress?.(`waiting for process ${owner}, which is making ${options.what}`);
      told = true;
    }
    await delay(setupPollMs);
  }
}

async function tryLock(file: string): Promise<boolean> {
  const handle = await open(file, 'wx').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return null;
    throw new PipelineError('setup-failed', `cannot write ${file}`, { cause: error });
  });
  if (handle === null) return false;
  await handle.writeFile(String(process.pid));
  await handle.close();
  return true;
}

/** Folders of processes that were killed while building. */
async function removeAbandoned(target: string): Promise<void> {
  const { dir, base } = path.parse(target);
  for (const name of await readdir(dir)) {
    const owner = name.startsWith(`${base}.`)
      ? /\.(\d+)-[0-9a-f]+\.tmp$/.exec(name)?.[1]
      : undefined;
    if (owner === undefined || isAlive(Number(owner))) continue;
    await rm(path.join(dir, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, but belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
