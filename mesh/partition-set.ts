// A set of partitions as the bitmap that travels in Recover: 16,384 bits, 2 KiB.

import { MeshError } from "#proto";
import { PARTITIONS } from "#placement";

export class PartitionSet {
  readonly bits: Uint8Array;

  constructor(bits: Uint8Array = new Uint8Array(PARTITIONS / 8)) {
    if (bits.length !== PARTITIONS / 8) {
      throw new MeshError("bad_frame", `a set of partitions has ${PARTITIONS / 8} bytes, not ${bits.length}`);
    }
    this.bits = bits;
  }

  has(partition: number): boolean {
    return ((this.bits[partition >> 3] ?? 0) & (1 << (partition & 7))) !== 0;
  }

  add(partition: number): void {
    this.bits[partition >> 3] = (this.bits[partition >> 3] ?? 0) | (1 << (partition & 7));
  }

  delete(partition: number): void {
    this.bits[partition >> 3] = (this.bits[partition >> 3] ?? 0) & ~(1 << (partition & 7));
  }

  *[Symbol.iterator](): Generator<number> {
    for (let at = 0; at < this.bits.length; at++) {
      // Most are empty in a large mesh.
      const byte = this.bits[at] ?? 0;
      for (let bit = 0; byte >> bit !== 0; bit++) if ((byte & (1 << bit)) !== 0) yield at * 8 + bit;
    }
  }

  get size(): number {
    let size = 0;
    for (const _ of this) size++;
    return size;
  }
}
