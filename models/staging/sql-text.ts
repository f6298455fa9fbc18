/** One generated file, its path relative to the dbt project's folder. */
export interface GeneratedFile {
  readonly path: string;
  readonly text: string;
}

export type TemplateValue =
  | null
  | boolean
  | number
  | string
  | readonly TemplateValue[]
  | { readonly [name: string]: TemplateValue };

/**
 * A value as the template language of dbt reads it. JSON's strings are its strings, so names with quotes
 * or braces pass through unharmed; only null is spelled differently.
 */
export function templateValue(value: TemplateValue): string {
  if (value === null) return 'none';
  if (typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(templateValue).join(', ')}]`;
  return `{${Object.entries(value)
    .map(([name, inner]) => `${JSON.stringify(name)}: ${templateValue(inner)}`)
    .join(', ')}}`;
}

const isList = (value: object): value is readonly TemplateValue[] => Array.isArray(value);

/** One call of a macro, an argument a line. `relation` is template code, not a value. */
export function macroCall(
  macro: string,
  relation: string | null,
  values: Readonly<Record<string, TemplateValue>>,
): string {
  const lines = Object.entries(values).map(([name, value]) => `    ${name}=${argument(value)},\n`);
  const first = relation === null ? '' : `    relation=${relation},\n`;
  return `{{ ${macro}(\n${first}${lines.join('')}) }}\n`;
}

/** Lists of objects (columns) take a line each, so that a difference between two runs reads well. */
function argument(value: TemplateValue): string {
  if (value === null || typeof value !== 'object' || !isList(value)) return templateValue(value);
  if (value.length === 0 || typeof value[0] !== 'object') return templateValue(value);
  return `[\n${value.map((item) => `        ${templateValue(item)},\n`).join('')}    ]`;
}

/** A string of a generated YAML file; JSON's form of it is legal YAML. */
export function yamlText(text: string): string {
  return JSON.stringify(text);
}
