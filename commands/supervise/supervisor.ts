import { pause } from '../../runtime/pause.ts';
import type { Logger } from '../../runtime/logger.ts';
import { reportError } from '../../runtime/report-error.ts';
import { retry } from '../../runtime/retry.ts';
import { runChild, type ChildOptions } from './child-process.ts';

/** One process to keep alive, or to run now and then. */
export interface RoleSpec {
  readonly role: string;
  readonly command: ChildOptions['command'];
  readonly env?: Readonly<Record<string, string>>;
  /** Set for work that ends and is done again after this pause; its failures are logged and stop nothing. */
  readonly everyMs?: number;
}

export interface SupervisorOptions {
  readonly roles: readonly RoleSpec[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
  /** Drains every role. */
  readonly signal: AbortSignal;
  readonly graceMs: number;
  readonly retry: {
    readonly firstDelayMs: number;
    readonly longestDelayMs: number;
    readonly giveUpAfterMs: number;
  };
  readonly onProgress: (role: string, text: string) => void;
}

/**
 * Keeps every role running until the signal aborts. A role that fails for a passing reason or is killed
 * is started again after a growing pause; any other failure drains all the others and is thrown.
 */
export async function supervise(options: SupervisorOptions): Promise<void> {
  const everyone = new AbortController();
  const signal = AbortSignal.any([options.signal, everyone.signal]);
  const ends = await Promise.allSettled(
    options.roles.map(async (spec) => {
      try {
        await (spec.everyMs === undefined ? keepRunning : runRepeatedly)(spec, {
          ...options,
          signal,
        });
      } catch (error) {
        // The first failure is the cause; what the others say while they are stopped is not.
        if (everyone.signal.aborted) return;
        everyone.abort();
        throw error;
      }
    }),
  );
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function keepRunning(spec: RoleSpec, options: SupervisorOptions): Promise<void> {
  const { logger, signal } = options;
  // A role ends by itself only when it was told to; an end with exit code 0 all the same starts it anew.
  while (!signal.aborted) {
    await retry(() => runOnce(spec, options), {
      ...options.retry,
      signal,
      onRetry: ({ error, attempt, delayMs }) =>
        logger.warn(
          { role: spec.role, kind: error.kind, attempt },
          `${error.message}; started again in ${(delayMs / 1000).toFixed(1)} s`,
        ),
    });
    if (!signal.aborted) await pause(options.retry.firstDelayMs, signal);
  }
}

async function runRepeatedly(spec: RoleSpec, options: SupervisorOptions): Promise<void> {
  const { logger, signal } = options;
  for (;;) {
    await pause(spec.everyMs ?? 0, signal);
    if (signal.aborted) return;
    try {
      await runOnce(spec, options);
    } catch (error) {
      const { kind, message, hint } = reportError(error);
      logger.error({ role: spec.role, kind, hint }, message);
    }
  }
}

async function runOnce(spec: RoleSpec, options: SupervisorOptions): Promise<void> {
  const { role, command, env } = spec;
  await runChild({
    role,
    command,
    env: { ...options.env, ...env },
    logger: options.logger,
    signal: options.signal,
    graceMs: options.graceMs,
    onProgress: (text) => options.onProgress(role, text),
  });
}
