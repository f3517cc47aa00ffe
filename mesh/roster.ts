// What comes and goes with every request, for the sweeps that look at all of it. Not a Set: that makes itself a new table whenever
// so many have left, and V8 ties each old table to the next one. Once a full collection has made one of them old, all later ones
// outlive their time, with whatever stood in them: half a kilobyte or more a request, until the next full collection.

/** Stands in one roster at a time. */
export interface Rostered {
  /** Where; -1 for nowhere. Only its roster writes it. */
  place: number;
}

export class Roster<Item extends Rostered> implements Iterable<Item> {
  readonly #items: Item[] = [];

  get size(): number {
    return this.#items.length;
  }

  has(item: Item): boolean {
    return item.place >= 0 && this.#items[item.place] === item;
  }

  add(item: Item): void {
    if (this.has(item)) return;
    item.place = this.#items.length;
    this.#items.push(item);
  }

  /** False when it was not there. */
  delete(item: Item): boolean {
    if (!this.has(item)) return false;
    const last = this.#items.pop();
    if (last !== undefined && last !== item) {
      this.#items[item.place] = last;
      last.place = item.place;
    }
    item.place = -1;
    return true;
  }

  /** In no order. Others may leave and come meanwhile: each that stays is visited, perhaps twice. */
  *[Symbol.iterator](): Iterator<Item> {
    // From the end, since who leaves is replaced by the last: nobody moves to where we have not been yet from where we have.
    for (let at = this.#items.length - 1; at >= 0; at--) {
      const item = this.#items[at];
      if (item !== undefined) yield item;
    }
  }
}
