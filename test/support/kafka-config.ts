import type { KafkaLogConfig } from '../../runtime/config.ts';
import { kafkaLogSchema } from '../../runtime/config/log-fields.ts';

/** The `log` block of a configuration file, without its type. */
export type KafkaConfigInput = Readonly<Record<string, unknown>> & {
  readonly brokers: readonly string[];
};

/** A configuration of the log with the defaults of the program. */
export function kafkaConfig(input: KafkaConfigInput): KafkaLogConfig {
  return kafkaLogSchema.parse({ type: 'kafka', ...input });
}
