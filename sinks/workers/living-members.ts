import type { MemberRecord } from './membership.ts';

export interface LivingOptions {
  /** A member whose beat stands still for longer is gone. */
  readonly silenceMsMax: number;
  /** Time between two looks that counts at most: who did not look cannot say that another was silent. */
  readonly lookGapMsMax: number;
  /** Certain knowledge of this machine: its process has ended. */
  readonly isEnded: (member: MemberRecord) => boolean;
}

interface Sight {
  readonly beat: number;
  silentMs: number;
}

/**
 * Tells the living members from the silent, by this process's own clock and looks. What is first seen
 * counts as alive until it has been silent under our eyes.
 */
export class LivingMembers {
  readonly #options: LivingOptions;
  readonly #sights = new Map<string, Sight>();
  #lookedMs: number | null = null;

  constructor(options: LivingOptions) {
    this.#options = options;
  }

  /** Takes a look at what was announced, at a time that never runs backwards. */
  look(
    members: readonly MemberRecord[],
    nowMs: number,
  ): { readonly living: readonly MemberRecord[]; readonly gone: readonly MemberRecord[] } {
    const { silenceMsMax, lookGapMsMax, isEnded } = this.#options;
    const passedMs = Math.min(lookGapMsMax, nowMs - (this.#lookedMs ?? nowMs));
    this.#lookedMs = nowMs;
    const living: MemberRecord[] = [];
    const gone: MemberRecord[] = [];
    const names = new Set(members.map(({ id }) => id));
    for (const id of this.#sights.keys()) if (!names.has(id)) this.#sights.delete(id);
    for (const member of members) {
      const sight = this.#sights.get(member.id);
      if (sight?.beat === member.beat) sight.silentMs += passedMs;
      else this.#sights.set(member.id, { beat: member.beat, silentMs: 0 });
      const isSilent = (this.#sights.get(member.id)?.silentMs ?? 0) > silenceMsMax;
      (isSilent || isEnded(member) ? gone : living).push(member);
    }
    return { living, gone };
  }
}
