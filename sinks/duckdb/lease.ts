import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import type { PositionText } from '../../schemas/position.ts';
import { isAlive } from '../process-state.ts';
import type { SinkPause } from '../run-sink.ts';
import { openLake } from './client.ts';
import { holderPid, lockedError } from './errors.ts';
import { LeaseFolder, type LeaseRequest } from './lease-folder.ts';

/*
 * DuckDB lets one process have a file. The sink's process is its owner; another process that wants it
 * (dbt, verify, status) writes a request beside the file. Between two batches the owner applies up to the
 * request's position, closes the file and writes a grant; the borrower works and takes its request away;
 * the owner opens the file again. DuckDB's own lock stays the judge of who has the file: the folder only
 * says whose turn it is, so a stale entry can cost time but never data.
 */

const pollMs = 25;
/** How often an owner shows that it is alive, and how long it may be silent. */
const heartbeatMs = 2_000;
const silenceMsMax = 20_000;
const leaseMsDefault = 15 * 60_000;

export interface LeaseOwnerOptions {
  /** Longest loan; after it the owner takes the file back as soon as it can. */
  readonly leaseMsMax?: number;
}

/** The owner's side: what the sink asks between batches and runs while its lake is lent. */
export interface LeaseOwner extends SinkPause, Disposable {
  /** Another living process says that it owns the lake. */
  hasRival(): boolean;
}

/** Announces this process as the owner of the lake until it is disposed. */
export function createLeaseOwner(path: string, options: LeaseOwnerOptions = {}): LeaseOwner {
  const folder = new LeaseFolder(path);
  const leaseMsMax = options.leaseMsMax ?? leaseMsDefault;
  folder.announceOwner();
  const heartbeat = setInterval(() => {
    try {
      folder.announceOwner();
    } catch {
      // A full disk, say: borrowers then take this process for gone, and meet DuckDB's lock.
    }
  }, heartbeatMs);
  heartbeat.unref();
  return {
    requested: () => {
      const [request] = liveRequests(folder);
      return request === undefined ? null : { until: request.until };
    },
    run: async (applied) => {
      const request = liveRequests(folder).find(({ until }) => (until ?? '') <= applied);
      if (request === undefined) return;
      folder.writeGrant({ id: request.id, applied });
      await settled(folder, request, leaseMsMax);
      folder.remove(request.id);
    },
    hasRival: () => {
      return folder.owners(silenceMsMax).some((pid) => pid !== process.pid && isAlive(pid));
    },
    [Symbol.dispose]: () => {
      clearInterval(heartbeat);
      folder.withdrawOwner();
    },
  };
}

/** Requests of borrowers that live, oldest first; those of the dead are cleared away. */
function liveRequests(folder: LeaseFolder): readonly LeaseRequest[] {
  return folder.requests().filter((request) => {
    if (isAlive(request.pid)) return true;
    folder.remove(request.id);
    return false;
  });
}

/** The borrower gave back, died, or had its time. */
async function settled(folder: LeaseFolder, { id, pid }: LeaseRequest, leaseMsMax: number) {
  const deadline = performance.now() + leaseMsMax;
  while (folder.hasRequest(id) && isAlive(pid) && performance.now() < deadline) {
    await setTimeout(pollMs);
  }
}

/** What the owner says when it lends. */
export interface LeaseGrant {
  readonly id: string;
  /** The lake holds exactly everything up to here. */
  readonly applied: PositionText;
}

export interface BorrowOptions {
  /** Shown to whoever looks into the lease folder: "dbt", "verify". */
  readonly purpose: string;
  /**
   * The owner first applies exactly up to there. A function is asked while the lake stands still, so that
   * the owner cannot have passed what it gives, if only that is not below what was applied before.
   */
  readonly until?: PositionText | (() => Promise<PositionText>);
  readonly waitMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Runs `use` while no other process has the lake file; `use` opens and closes it itself. It gets the
 * owner's grant, or null when no sink runs. Throws `sink-locked`, naming the process, when the file was
 * not to be had within `waitMs`.
 */
export async function borrowLake<T>(
  path: string,
  options: BorrowOptions,
  use: (grant: LeaseGrant | null) => Promise<T>,
): Promise<T> {
  const { until, ...others } = options;
  const borrowing = await (typeof until === 'function'
    ? borrowingAt(path, others, until)
    : new Borrowing(path, { ...others, ...(until === undefined ? {} : { until }) }));
  try {
    return await use(await borrowing.granted());
  } finally {
    borrowing.giveBack();
  }
}

/** Asks for the lake a second time while it is lent: the owner goes from there to the position given. */
async function borrowingAt(
  path: string,
  options: Omit<BorrowOptions, 'until'>,
  decide: () => Promise<PositionText>,
): Promise<Borrowing> {
  const standing = new Borrowing(path, options);
  try {
    const isOwned = (await standing.granted()) !== null;
    const borrowing = new Borrowing(path, { ...options, until: await decide() });
    if (isOwned) borrowing.ask();
    return borrowing;
  } finally {
    standing.giveBack();
  }
}

interface PositionedBorrowing extends Omit<BorrowOptions, 'until'> {
  readonly until?: PositionText;
}

class Borrowing {
  readonly #path: string;
  readonly #options: PositionedBorrowing;
  readonly #folder: LeaseFolder;
  #id: string | null = null;

  constructor(path: string, options: PositionedBorrowing) {
    this.#path = path;
    this.#options = options;
    this.#folder = new LeaseFolder(path);
  }

  async granted(): Promise<LeaseGrant | null> {
    const { waitMs, signal } = this.#options;
    const deadline = performance.now() + waitMs;
    for (;;) {
      signal?.throwIfAborted();
      const owner = this.#folder.owners(silenceMsMax).find(isAlive);
      const holder = owner === undefined ? await this.#holder() : { pid: owner };
      if (holder === null) {
        this.giveBack();
        return null;
      }
      if (owner !== undefined) this.ask();
      const grant = this.#id === null ? null : this.#folder.grant(this.#id);
      if (grant !== null) return grant;
      if (performance.now() >= deadline) throw this.#tooLate(owner, holder.pid);
      await setTimeout(pollMs, undefined, signal === undefined ? {} : { signal });
    }
  }

  /** Has the owner know of it, before `granted` waits. */
  ask(): void {
    this.#id ??= this.#folder.writeRequest(this.#options);
  }

  giveBack(): void {
    if (this.#id !== null) this.#folder.remove(this.#id);
    this.#id = null;
  }

  /** Who has the file although no owner is there; null when nobody has it. */
  async #holder(): Promise<{ readonly pid: number | undefined } | null> {
    if (!existsSync(this.#path)) return null;
    try {
      await (await openLake(this.#path, { isReadOnly: true })).close();
      return null;
    } catch (error) {
      if (error instanceof PipelineError && error.kind === 'sink-locked') {
        return { pid: holderPid(error) };
      }
      throw error;
    }
  }

  #tooLate(owner: number | undefined, pid: number | undefined): PipelineError {
    if (owner === undefined) return lockedError(this.#path, pid);
    const within = `within ${this.#options.waitMs / 1000} s`;
    const borrower = this.#folder.requests().find(({ id }) => this.#folder.grant(id) !== null);
    if (borrower !== undefined) {
      return new PipelineError(
        'sink-locked',
        `the lake ${this.#path} is lent to process ${borrower.pid} (${borrower.purpose}), which did not give it back ${within}`,
        {
          hint: 'try again when that has ended',
          context: { path: this.#path, holderPid: borrower.pid },
        },
      );
    }
    return new PipelineError(
      'sink-locked',
      `the sink process ${owner} did not lend the lake ${this.#path} ${within}`,
      {
        hint: 'it may be in a long batch, or far behind: see `tributary status`, then try again',
        context: { path: this.#path, holderPid: owner },
      },
    );
  }
}
