import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

export interface LeaseRequest {
  readonly id: string;
  readonly pid: number;
  readonly purpose: string;
  readonly until: string | null;
}

/**
 * `<lake>.lease/`: `owner-<pid>.json`, touched as long as the owner lives, `request-<id>.json` and
 * `grant-<id>.json`. Files appear whole (written beside, then renamed). Calls are synchronous: a few
 * files, looked at between batches.
 */
export class LeaseFolder {
  readonly #folder: string;

  constructor(lakePath: string) {
    this.#folder = `${lakePath}.lease`;
  }

  announceOwner(): void {
    this.#write(`owner-${process.pid}.json`, { pid: process.pid });
  }

  withdrawOwner(): void {
    rmSync(join(this.#folder, `owner-${process.pid}.json`), { force: true });
  }

  /** Processes that said within `silenceMsMax` that they own the lake. */
  owners(silenceMsMax: number): readonly number[] {
    const oldest = Date.now() - silenceMsMax;
    return this.#names('owner-').flatMap((name) => {
      const written = statSync(join(this.#folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
      const owner = written < oldest ? null : this.#read<{ readonly pid: number }>(name);
      return owner?.pid ?? [];
    });
  }

  /** Gives the id of the request. */
  writeRequest(request: { readonly purpose: string; readonly until?: string }): string {
    const { purpose, until = null } = request;
    requestCount += 1;
    // Sorts by time, so that who asks first is served first.
    const id = `${String(Date.now()).padStart(15, '0')}-${process.pid}-${requestCount}`;
    this.#write(`request-${id}.json`, { id, pid: process.pid, purpose, until });
    return id;
  }

  /** Oldest first. */
  requests(): readonly LeaseRequest[] {
    return this.#names('request-').flatMap((name) => this.#read<LeaseRequest>(name) ?? []);
  }

  hasRequest(id: string): boolean {
    return existsSync(join(this.#folder, `request-${id}.json`));
  }

  writeGrant(grant: { readonly id: string; readonly applied: string }): void {
    this.#write(`grant-${grant.id}.json`, grant);
  }

  grant(id: string): { readonly id: string; readonly applied: string } | null {
    return this.#read(`grant-${id}.json`);
  }

  /** Takes a request and its grant away. */
  remove(id: string): void {
    for (const kind of ['request', 'grant']) {
      rmSync(join(this.#folder, `${kind}-${id}.json`), { force: true });
    }
  }

  #names(prefix: string): readonly string[] {
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder)
      .filter((name) => name.startsWith(prefix) && name.endsWith('.json'))
      .toSorted();
  }

  #read<T>(name: string): T | null {
    try {
      return JSON.parse(readFileSync(join(this.#folder, name), 'utf8')) as T;
    } catch {
      // Taken away meanwhile.
      return null;
    }
  }

  #write(name: string, content: object): void {
    mkdirSync(this.#folder, { recursive: true });
    const beside = join(this.#folder, `${name}.${process.pid}.new`);
    writeFileSync(beside, JSON.stringify(content));
    renameSync(beside, join(this.#folder, name));
  }
}

let requestCount = 0;
