import type { TableLayout } from '../lake/layout.ts';
import type { LakeNames } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { InFlight, loadsInFlightMax } from './in-flight.ts';
import { viewQuery, viewSql } from './sql.ts';

/** View `T` of each table, all of which exist. */
export class Views {
  readonly #lake: LakeConnection;
  readonly #namesOf: (layout: TableLayout) => LakeNames;

  constructor(lake: LakeConnection, namesOf: (layout: TableLayout) => LakeNames) {
    this.#lake = lake;
    this.#namesOf = namesOf;
  }

  /** Makes the views, or puts new ones in the place of those that are there. */
  async swap(layouts: Iterable<TableLayout>): Promise<void> {
    await eachOf(layouts, async (layout) => {
      const names = this.#namesOf(layout);
      await this.#lake.run(viewSql(names, viewQuery(names, layout)));
    });
  }

  /** Swaps those that are not what they should be, each after a look whether they are this owner's to swap. */
  async mend(layouts: Iterable<TableLayout>, isOwner: () => Promise<unknown>): Promise<void> {
    await eachOf(layouts, async (layout) => {
      const names = this.#namesOf(layout);
      const stored = await this.#lake.viewQuery(names.view);
      if (stored?.trim() === viewQuery(names, layout)) return;
      await isOwner();
      await this.swap([layout]);
    });
  }
}

async function eachOf(
  layouts: Iterable<TableLayout>,
  work: (layout: TableLayout) => Promise<void>,
): Promise<void> {
  const requests = new InFlight(loadsInFlightMax);
  await Promise.all([...layouts].map((layout) => requests.run(() => work(layout))));
}
