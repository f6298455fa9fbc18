import type { CatalogTable } from '../schemas/catalog.ts';

interface Names {
  readonly service: string;
  readonly entity: string;
}

/**
 * Names the staging models: `service_commerce_order_item` → commerce / order_item, anything else →
 * schema / table. Two tables never share a name: the later one takes its schema along.
 */
export function mappedEntity(tables: readonly CatalogTable[]): (table: CatalogTable) => Names {
  const taken = new Set<string>();
  const chosen = new Map<CatalogTable, Names>();
  for (const table of tables) {
    const proposals = [
      propose(table),
      { ...propose(table), service: safe(`${table.schema}_${propose(table).service}`) },
    ];
    const free = proposals.find((names) => !taken.has(`${names.service}/${names.entity}`));
    const names = free ?? {
      service: safe(table.schema),
      entity: safe(`${table.name}_${table.oid}`),
    };
    taken.add(`${names.service}/${names.entity}`);
    chosen.set(table, names);
  }
  return (table) => chosen.get(table) ?? propose(table);
}

function propose(table: CatalogTable): Names {
  const match = /^service_([a-z0-9]+)(?:_(.+))?$/.exec(table.name);
  if (match === null) return { service: safe(table.schema), entity: safe(table.name) };
  return { service: safe(match[1] ?? ''), entity: safe(match[2] ?? 'main') };
}

/** Lower case, digits and underscores, beginning with a letter: legal in dbt and every engine. */
function safe(name: string): string {
  const text = name.toLowerCase().replaceAll(/[^a-z0-9_]+/g, '_');
  return /^[a-z]/.test(text) ? text : `t_${text}`;
}
