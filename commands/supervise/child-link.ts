import type { ErrorReport } from '../../runtime/report-error.ts';

/** What a role tells its supervisor. */
export type RoleMessage =
  | { readonly type: 'failed'; readonly report: ErrorReport }
  /** One short sentence for the status line. */
  | { readonly type: 'progress'; readonly text: string };

/** Set by the supervisor for its children. */
export const supervisedVariable = 'TRIBUTARY_SUPERVISED';

/** True in a role that `run` started. */
export function isSupervised(): boolean {
  return process.env[supervisedVariable] === '1' && process.send !== undefined;
}

/** Sends a message to the supervisor; false when there is none. */
export function tellSupervisor(message: RoleMessage): boolean {
  if (!isSupervised() || process.send === undefined || !process.connected) return false;
  // A supervisor that is gone cannot be told; the `disconnect` event stops this process.
  process.send(message, () => {});
  return true;
}
