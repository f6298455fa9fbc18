/**
 * Avro schemas by number, as Confluent's registry keeps them. The same schema text has the same id
 * under every subject.
 */
export interface SchemaRegistry {
  /**
   * Registers (or finds) a schema under `<topic>-key` or `<topic>-value`; gives its id. Throws
   * `schema-rejected`; `schema-incompatible` when the subject's rule forbids it and `incompatible` is
   * 'park'; `registry-unreachable` when time may mend it, `registry-refused` when not.
   */
  register(subject: string, schemaText: string, incompatible?: WhenIncompatible): Promise<number>;
  /** The text of a schema. Throws `schema-unknown` for an id that the registry does not have; else as `register`. */
  schemaText(id: number): Promise<string>;
  close(): Promise<void>;
}

/**
 * A schema that breaks its subject's rule: 'evolve' lifts the rule for this one registration and tells,
 * 'park' registers nothing.
 */
export type WhenIncompatible = 'evolve' | 'park';
