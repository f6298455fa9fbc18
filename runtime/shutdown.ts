import { interruptedExitCode } from './report-error.ts';

/** The parts of `process` that shutdown needs. */
export interface SignalSource {
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
  readonly exit: (code: number) => void;
}

export interface ShutdownOptions {
  /** How long the drain may take before the process ends anyway. */
  readonly graceMs: number;
  /** Told once when the drain begins, and once when it is cut short. */
  readonly notify: (text: string) => void;
  readonly source?: SignalSource;
  readonly now?: () => number;
}

export interface Shutdown extends Disposable {
  /** Aborts at the first signal: finish what is in hand, make it durable, stop. */
  readonly signal: AbortSignal;
}

const signals = ['SIGINT', 'SIGTERM'] as const;
/** One Ctrl-C comes more than once: from the terminal to the whole group, and again from each parent (npm). */
const sameSignalMs = 300;

/**
 * The first SIGINT or SIGTERM drains, the second ends the process at once with exit code 130, and so does
 * a drain that outlasts the grace. A supervised child drains as well when its supervisor is gone
 * (`disconnect`), so that no orphan goes on writing.
 */
export function listenForShutdown(options: ShutdownOptions): Shutdown {
  const { graceMs, notify, source = process, now = performance.now.bind(performance) } = options;
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let drainingSinceMs = 0;
  const abandon = (reason: string) => {
    notify(`${reason}: stopped without finishing; the next start continues where it is safe`);
    source.exit(interruptedExitCode);
  };
  const drain = (reason: string) => {
    notify(`${reason}: finishing what is in hand (once more stops at once)`);
    timer = setTimeout(() => abandon(`not finished after ${graceMs / 1000} s`), graceMs);
    timer.unref();
    drainingSinceMs = now();
    controller.abort();
  };
  const listeners = signals.map((name) => {
    const listener = () => {
      if (!controller.signal.aborted) drain(name);
      else if (now() - drainingSinceMs > sameSignalMs) abandon(name);
    };
    source.on(name, listener);
    return [name, listener] as const;
  });
  const onDisconnect = () => {
    if (!controller.signal.aborted) drain('the supervisor is gone');
  };
  source.on('disconnect', onDisconnect);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const [name, listener] of listeners) source.off(name, listener);
      source.off('disconnect', onDisconnect);
    },
  };
}
