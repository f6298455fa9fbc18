import { hostname } from 'node:os';
import { PipelineError } from '../../runtime/errors.ts';
import { isAlive } from '../process-state.ts';
import type { MemberRecord } from '../workers/membership.ts';
import { openLake } from './client.ts';
import { holderPid } from './errors.ts';

/**
 * Ends a sink process of this machine that is silent and still has the lake's file, as a frozen one
 * does: DuckDB's lock leaves with its process and no other way. DuckDB itself names the holder, so no
 * process is ended for an id that has become another's. True when one was.
 */
export async function evictMember(path: string, gone: MemberRecord): Promise<boolean> {
  const { host, pid } = gone;
  if (host !== hostname() || pid === process.pid || !isAlive(pid)) return false;
  if ((await holderOf(path)) !== pid) return false;
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (cause) {
    const message = `the silent sink process ${pid} holds the lake ${path} and cannot be ended`;
    throw new PipelineError('sink-locked', message, { hint: `end it: kill -9 ${pid}`, cause });
  }
}

async function holderOf(path: string): Promise<number | undefined> {
  try {
    await (await openLake(path, { isReadOnly: true })).close();
    return undefined;
  } catch (error) {
    const pid = holderPid(error);
    if (pid !== undefined) return pid;
    // Missing, damaged, full: whoever opens it says so.
    if (error instanceof PipelineError) return undefined;
    throw error;
  }
}
