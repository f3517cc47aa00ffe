// The memory of this process as the kernel counts it. Node reads it from a file, which fails while the process has no descriptor left: then
// what was read last still holds. Sockets of clients may take all descriptors, which must be nobody's end.

export class ResidentMemory {
  #bytes = 0;

  bytes(): number {
    try {
      this.#bytes = process.memoryUsage.rss();
    } catch {
      // EMFILE; the next reading may go well.
    }
    return this.#bytes;
  }
}
