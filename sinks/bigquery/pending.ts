import type { TableLayout } from '../lake/layout.ts';
import type { AppliedTable } from './apply-table.ts';
import { inlineBytesMax, type TextParameter } from './inline-rows.ts';

/** What the next transaction brings with it: that of a published batch, and of those before it that were not. */
export class Pending {
  /** In their order. */
  readonly statements: string[] = [];
  /** Staging tables that the statements read. */
  readonly stages: string[] = [];
  /** Rows that travel with the statements. */
  readonly parameters: TextParameter[] = [];
  /** Topics whose tables the statements change. */
  readonly changed = new Set<string>();
  /** topic → what its view is to show afterwards. */
  readonly views = new Map<string, TableLayout>();
  /** Cuts that the statements are of. */
  cutCount = 0;
  #inlineBytes = 0;

  get isEmpty(): boolean {
    return this.statements.length === 0;
  }

  /** True when there is room for more rows beside the statements; it is taken then. */
  takeInline(text: string): boolean {
    const bytes = this.#inlineBytes + Buffer.byteLength(text);
    if (bytes > inlineBytesMax) return false;
    this.#inlineBytes = bytes;
    return true;
  }

  add({ statements, parameter }: AppliedTable): void {
    this.statements.push(...statements);
    if (parameter !== null) this.parameters.push(parameter);
  }
}
