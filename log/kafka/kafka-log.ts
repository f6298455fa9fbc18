import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { Log } from '../log.ts';

export interface KafkaLogOptions {
  readonly config: KafkaLogConfig;
  /** True: appending and creating topics throw. */
  readonly readOnly?: boolean;
}

/** Opens the log that lives in a Kafka cluster. */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  throw new PipelineError('setup-failed', `no driver yet for ${options.config.brokers.join(', ')}`);
}
