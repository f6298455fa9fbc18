import type { MappedTable, Mapping } from '../mapping.ts';

/** A column of a table whose values other tables hold. */
export interface LookupTarget {
  readonly table: string;
  readonly targetColumn: string;
}

/**
 * Where a table's tenant column points: to what a reference on that column says, else to what the other
 * tables' tenant columns point to most often, because the same tenant is stored under differing types
 * and only some of them are declared. Null when nothing points anywhere.
 */
export function tenantTarget(mapping: Mapping, mapped: MappedTable): LookupTarget | null {
  const own = referenceOf(mapped, mapped.tenant?.column);
  if (own !== null) return own;
  const votes = new Map<string, { target: LookupTarget; count: number }>();
  for (const table of Object.values(mapping.tables)) {
    const target = referenceOf(table, table.tenant?.column);
    if (target === null) continue;
    const key = `${target.table} ${target.targetColumn}`;
    votes.set(key, { target, count: (votes.get(key)?.count ?? 0) + 1 });
  }
  return [...votes.values()].toSorted((a, b) => b.count - a.count)[0]?.target ?? null;
}

function referenceOf(mapped: MappedTable, column: string | undefined): LookupTarget | null {
  const found = mapped.references.find((one) => one.column === column && one.table !== null);
  const { table = null, targetColumn = null } = found ?? {};
  return table === null || targetColumn === null ? null : { table, targetColumn };
}

/** Every column that some role or reference looks values up in, each once, in a fixed order. */
export function lookupTargets(mapping: Mapping): readonly LookupTarget[] {
  const found = new Map<string, LookupTarget>();
  const add = (target: LookupTarget | null) => {
    if (target !== null) found.set(`${target.table} ${target.targetColumn}`, target);
  };
  for (const mapped of Object.values(mapping.tables)) {
    for (const role of [mapped.actor, mapped.parent]) add(role);
    if (mapped.tenant !== null) add(tenantTarget(mapping, mapped));
    for (const { table, targetColumn } of mapped.references) {
      if (table !== null && targetColumn !== null) add({ table, targetColumn });
    }
  }
  return [...found.entries()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, target]) => ({
      table: target.table,
      targetColumn: target.targetColumn,
    }));
}
