// A set of partitions: a bitmap of 16,384 bits, 2 KiB. In Recover it travels as that bitmap, or as a list of its members where that is
// shorter: in a mesh of a thousand workers each of them owns 16, and asks all others for what it gains.

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

  addAll(other: PartitionSet): void {
    for (let at = 0; at < this.bits.length; at++) this.bits[at] = (this.bits[at] ?? 0) | (other.bits[at] ?? 0);
  }

  /** In ascending order. */
  get members(): number[] {
    const members: number[] = [];
    for (let at = 0; at < this.bits.length; at++) {
      // Most are empty in a large mesh.
      const byte = this.bits[at] ?? 0;
      if (byte === 0) continue;
      for (let bit = 0; byte >> bit !== 0; bit++) if ((byte & (1 << bit)) !== 0) members.push(at * 8 + bit);
    }
    return members;
  }

  /** As they are now: those that are taken out while one goes through them come all the same. */
  [Symbol.iterator](): Iterator<number> {
    return this.members.values();
  }

  get empty(): boolean {
    return this.bits.every((byte) => byte === 0);
  }

  get size(): number {
    return this.members.length;
  }
}

/** As it travels: two bytes a member, least first, or the bitmap when that is no longer. */
export function encodePartitions(partitions: PartitionSet): Uint8Array {
  const { members } = partitions;
  if (members.length * 2 >= partitions.bits.length) return partitions.bits.slice();
  const bytes = new Uint8Array(members.length * 2);
  for (const [at, member] of members.entries()) {
    bytes[2 * at] = member & 0xff;
    bytes[2 * at + 1] = member >> 8;
  }
  return bytes;
}

/** Throws `bad_frame`. */
export function decodePartitions(bytes: Uint8Array): Iterable<number> {
  if (bytes.length >= PARTITIONS / 8) return new PartitionSet(bytes);
  const members: number[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const member = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    if (member >= PARTITIONS) throw new MeshError("bad_frame", `there is no partition ${member}`);
    members.push(member);
  }
  if (bytes.length % 2 === 1) throw new MeshError("bad_frame", "a list of partitions has an odd number of bytes");
  return members;
}
