// Edits of the product's source that are made while Node loads it, in this process only: fewer partitions, so that a step costs
// microseconds, and the deliberate breaks of mutations.ts. An edit that does not find its text, once, fails: it is out of date.

import { registerHooks } from "node:module";

export interface SourceEdit {
  /** As in the repository, for example `mesh/lease.ts`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A table of owners for each view and worker takes nearly all of the time with 16,384. The rules are the same with 64. */
export const fewPartitions: SourceEdit = {
  file: "placement/partition.ts",
  find: "PARTITIONS = 16_384",
  replace: "PARTITIONS = 64",
};

/** MUST be called before the first import of what is edited. */
export function editSources(edits: readonly SourceEdit[]): void {
  const root = new URL("../../", import.meta.url).href;
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const mine = edits.filter((edit) => url === root + edit.file);
      if (mine.length === 0) return loaded;
      let source = String(loaded.source);
      for (const { file, find, replace } of mine) {
        if (source.split(find).length !== 2) throw new Error(`${file} does not hold this text once: ${find}`);
        source = source.replace(find, () => replace);
      }
      return { ...loaded, source };
    },
  });
}
