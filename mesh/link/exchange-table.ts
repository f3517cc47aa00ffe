// The exchanges of one link, by their numbers. Not a Map, for the reason that roster.ts gives: a link's exchanges come and go by the
// ten thousand a second. Open addressing with linear probing; who leaves is filled up from behind, so no traces of them pile up.

const CAPACITY_BITS_MIN = 6;
/** 2^32 divided by the golden ratio: numbers that follow each other are spread evenly, so that sockets that stay do not stand in a row. */
const SPREAD = 0x9e37_79b1;

export class ExchangeTable<Value extends object> {
  /** 0: free. */
  #streams = new Uint32Array(1 << CAPACITY_BITS_MIN);
  #values: (Value | undefined)[] = emptyOf(1 << CAPACITY_BITS_MIN);
  #shift = 32 - CAPACITY_BITS_MIN;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(stream: number): Value | undefined {
    return this.#values[this.#slotOf(stream)];
  }

  /** @param stream not 0, which is the link's own number */
  set(stream: number, value: Value): void {
    let slot = this.#slotOf(stream);
    if (this.#streams[slot] === 0) {
      if (this.#size * 2 >= this.#streams.length) {
        this.#grow();
        slot = this.#slotOf(stream);
      }
      this.#size += 1;
      this.#streams[slot] = stream;
    }
    this.#values[slot] = value;
  }

  delete(stream: number): void {
    const streams = this.#streams;
    const mask = streams.length - 1;
    let free = this.#slotOf(stream);
    if (streams[free] === 0) return;
    this.#size -= 1;
    // Whoever was pushed past the free slot from its home at or before it moves up: probing ends at a free slot.
    for (let slot = (free + 1) & mask; streams[slot] !== 0; slot = (slot + 1) & mask) {
      const other = streams[slot] ?? 0;
      if (((slot - this.#homeOf(other)) & mask) < ((slot - free) & mask)) continue;
      streams[free] = other;
      this.#values[free] = this.#values[slot];
      free = slot;
    }
    streams[free] = 0;
    this.#values[free] = undefined;
  }

  /** Takes all out, in the order of their numbers. */
  drain(): (readonly [stream: number, value: Value])[] {
    const all: [number, Value][] = [];
    for (const [slot, value] of this.#values.entries())
      if (value !== undefined) all.push([this.#streams[slot] ?? 0, value]);
    this.#streams = new Uint32Array(1 << CAPACITY_BITS_MIN);
    this.#values = emptyOf(1 << CAPACITY_BITS_MIN);
    this.#shift = 32 - CAPACITY_BITS_MIN;
    this.#size = 0;
    return all.toSorted(([a], [b]) => a - b);
  }

  /** Where the number is, or would be put. */
  #slotOf(stream: number): number {
    const streams = this.#streams;
    const mask = streams.length - 1;
    let slot = this.#homeOf(stream);
    while (streams[slot] !== stream && streams[slot] !== 0) slot = (slot + 1) & mask;
    return slot;
  }

  #homeOf(stream: number): number {
    return Math.imul(stream, SPREAD) >>> this.#shift;
  }

  #grow(): void {
    const streams = this.#streams;
    const values = this.#values;
    this.#streams = new Uint32Array(streams.length * 2);
    this.#values = emptyOf(streams.length * 2);
    this.#shift -= 1;
    for (const [at, stream] of streams.entries()) {
      if (stream === 0) continue;
      const slot = this.#slotOf(stream);
      this.#streams[slot] = stream;
      this.#values[slot] = values[at];
    }
  }
}

function emptyOf<Value>(length: number): (Value | undefined)[] {
  return Array.from({ length }, () => undefined);
}
