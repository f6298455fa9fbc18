import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PipelineError } from '../../runtime/errors.ts';
import type { MemberRecord, Membership } from './membership.ts';

/**
 * Members as files of a folder, for workers that share a disk: one `member-<id>.json` each, which
 * appears whole (written beside, then renamed).
 */
export class FolderMembership implements Membership {
  readonly #folder: string;
  readonly #sink: string;

  constructor(folder: string, sink: string) {
    this.#folder = folder;
    this.#sink = sink;
  }

  async announce(member: MemberRecord): Promise<void> {
    await this.#translated(async () => {
      await mkdir(this.#folder, { recursive: true });
      const file = this.#file(member.id);
      await writeFile(`${file}.new`, JSON.stringify(member));
      await rename(`${file}.new`, file);
    });
  }

  async members(): Promise<readonly MemberRecord[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const read = names
      .filter((name) => name.startsWith('member-') && name.endsWith('.json'))
      .toSorted()
      .map(async (name) => {
        try {
          return JSON.parse(await readFile(join(this.#folder, name), 'utf8')) as MemberRecord;
        } catch {
          // Taken away meanwhile.
          return null;
        }
      });
    const members = await Promise.all(read);
    return members.flatMap((member) => (member?.sink === this.#sink ? [member] : []));
  }

  async remove(id: string): Promise<void> {
    await this.#translated(() => rm(this.#file(id), { force: true }));
  }

  async close(): Promise<void> {}

  #file(id: string): string {
    return join(this.#folder, `member-${id}.json`);
  }

  async #translated(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      const message = `the workers of sink ${this.#sink} cannot meet in folder ${this.#folder}`;
      throw new PipelineError('sink-failed', message, {
        hint: 'free space there, or let this user write to it; loading goes on meanwhile',
        cause,
      });
    }
  }
}
