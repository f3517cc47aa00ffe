// What a server process uses once its garbage is gone, as the server under measurement reports it itself.

export interface MemoryInUse {
  readonly sessions: number;
  /** JavaScript objects, and what they hold outside of V8's heap. */
  readonly heapBytes: number;
  /** The whole process as the kernel counts it. Falls late: freed pages may stay. */
  readonly rssBytes: number;
}

/** The path at which every server of the benchmark answers with it. */
export const MEMORY_PATH = "/sessions/memory/here";

/** The server must run with --expose-gc. */
export function memoryInUse(sessions: number): MemoryInUse {
  if (globalThis.gc === undefined) throw new Error("start the server with NODE_OPTIONS=--expose-gc");
  // Twice: the first may only have found what finalizers free.
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { sessions, heapBytes: heapUsed + external, rssBytes: rss };
}
