/**
 * Avro schemas by number, as Confluent's registry keeps them. The same schema text has the same id
 * under every subject.
 */
export interface SchemaRegistry {
  /** Registers (or finds) a schema under `<topic>-key` or `<topic>-value`; gives its id. Throws `schema-rejected`. */
  register(subject: string, schemaText: string): Promise<number>;
  /** The text of a schema. Throws `log-corrupt` when the id is unknown. */
  schemaText(id: number): Promise<string>;
  close(): Promise<void>;
}
