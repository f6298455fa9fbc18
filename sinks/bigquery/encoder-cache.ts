import type { VersionLayout } from '../lake/layout.ts';

/**
 * One encoder a table. It is made anew for another version, and when the lake's columns became wider or more:
 * its rows then need another descriptor, and so another connection.
 */
export class EncoderCache<Encoder> {
  readonly #make: (layout: VersionLayout) => Encoder;
  readonly #known = new Map<string, { readonly shape: string; readonly encoder: Encoder }>();

  constructor(make: (layout: VersionLayout) => Encoder) {
    this.#make = make;
  }

  of(layout: VersionLayout): Encoder {
    const { version, columns, later } = layout;
    const shape = JSON.stringify([
      version.valueSchemaId,
      version.from,
      columns.map(({ physical, lakeType }) => [physical, lakeType]),
      later.map(({ physical, type }) => [physical, type]),
    ]);
    const known = this.#known.get(version.topic);
    if (known?.shape === shape) return known.encoder;
    const encoder = this.#make(layout);
    this.#known.set(version.topic, { shape, encoder });
    return encoder;
  }
}
