import type { Config } from '../../runtime/config.ts';
import type { Logger } from '../../runtime/logger.ts';
import {
  createMetrics,
  serveMetrics,
  type Metrics,
  type MetricsServer,
} from '../../runtime/metrics.ts';
import type { CommandContext } from '../command.ts';
import { isSupervised, tellSupervisor } from './child-link.ts';
import { createStatusLine } from './status-line.ts';

/** What a role works with. */
export interface RoleTools {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Aborts at the first Ctrl-C: finish, make durable, return. */
  readonly signal: AbortSignal;
  /** Called for the status line, every second. */
  show(text: () => string | undefined): void;
  /** False while the role waits to try again: what /healthz answers. */
  setHealthy(isHealthy: boolean): void;
}

type RoleContext = Pick<CommandContext, 'env' | 'open' | 'drainSignal'>;

/** The supervisor gives each role a port of its own. */
export const metricsPortVariable = 'TRIBUTARY_METRICS_PORT';

const showEveryMs = 1_000;

/** Sets up what every role has (log, metrics, status line, drain) and runs it until it ends. */
export async function runRole(
  context: RoleContext,
  options: { readonly role: string; readonly run: (tools: RoleTools) => Promise<void> },
): Promise<void> {
  using status = createStatusLine(process.stderr);
  const { config, logger } = context.open(isSupervised() ? {} : { logStream: status.logStream });
  const metrics = createMetrics();
  let isHealthy = true;
  let timer: NodeJS.Timeout | undefined;
  await using _server = await openMetrics(context, { config, metrics, isHealthy: () => isHealthy });
  const show = (text: string) => {
    if (!tellSupervisor({ type: 'progress', text })) status.set(options.role, text);
  };
  try {
    await options.run({
      config,
      logger,
      metrics,
      signal: context.drainSignal(),
      show(text) {
        timer = setInterval(() => {
          const current = text();
          if (current !== undefined) show(current);
        }, showEveryMs);
      },
      setHealthy: (value) => void (isHealthy = value),
    });
  } finally {
    clearInterval(timer);
  }
}

interface MetricsOptions {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly isHealthy: () => boolean;
}

async function openMetrics(
  context: RoleContext,
  options: MetricsOptions,
): Promise<MetricsServer | undefined> {
  const assigned = context.env[metricsPortVariable];
  const port = assigned === undefined ? options.config.metrics.port : Number(assigned);
  return port === undefined ? undefined : serveMetrics({ ...options, port });
}
