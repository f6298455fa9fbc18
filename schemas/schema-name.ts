/**
 * The full name of an Avro schema, "app.public.orders.Envelope"; of one without a name its type; null when
 * the text is no Avro. https://avro.apache.org/docs/1.12.0/specification/#names
 */
export function schemaName(schemaText: string): string | null {
  const schema = parsed(schemaText);
  if (typeof schema === 'string') return schema;
  if (Array.isArray(schema)) return 'union';
  if (schema === null || typeof schema !== 'object') return null;
  const { namespace, name, type } = schema as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string') return typeof type === 'string' ? type : null;
  return typeof namespace === 'string' && !name.includes('.') ? `${namespace}.${name}` : name;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
