// First come, first served. Neither an array that is shifted, which moves all that wait, nor a Set, whose tables outlive their
// time: see roster.ts.

export class Line<Item extends object> {
  #served: (Item | undefined)[] = [];
  #at = 0;
  #arriving: Item[] = [];

  get length(): number {
    return this.#served.length - this.#at + this.#arriving.length;
  }

  push(item: Item): void {
    this.#arriving.push(item);
  }

  shift(): Item | undefined {
    if (this.#at === this.#served.length) {
      if (this.#arriving.length === 0) return undefined;
      this.#served = this.#arriving;
      this.#arriving = [];
      this.#at = 0;
    }
    const item = this.#served[this.#at];
    this.#served[this.#at] = undefined;
    this.#at += 1;
    return item;
  }
}
