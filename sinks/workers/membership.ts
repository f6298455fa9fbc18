/** What a worker says of itself: a sink process that shares a lake with others of the same sink. */
export interface MemberRecord {
  /** Of one run of one process; never used again. */
  readonly id: string;
  /** Name of the sink in the configuration. */
  readonly sink: string;
  readonly host: string;
  readonly pid: number;
  /** Rises with every announcement: a member whose beat stands still is silent. */
  readonly beat: number;
  /** Milliseconds since 1970 by the member's clock: shown to people, decides nothing. */
  readonly atMs: number;
  /** The shares that it loads or is about to. */
  readonly claims: readonly ShareClaim[];
  /** The others are to hand over all shares, and stand by while it lives. */
  readonly wantsAll?: boolean | undefined;
}

export interface ShareClaim {
  readonly share: number;
  /** Under which the lake was opened; 0 before. Of two that claim a share the higher one is right. */
  readonly epoch: number;
}

/**
 * Where the workers of a sink see each other. It decides who works, never what is right: that is the
 * epoch in the lake. An announcement can be read by everybody once it resolves, so of two workers that
 * announce and then read at least one sees the other.
 */
export interface Membership {
  announce(member: MemberRecord): Promise<void>;
  /** The newest announcement of every member that did not leave. */
  members(): Promise<readonly MemberRecord[]>;
  /** Takes a member out: oneself at the end, or one that is gone. It may come back with its next beat. */
  remove(id: string): Promise<void>;
  close(): Promise<void>;
}
