// Whether a turn that takes long loads code. The first `import()` of something big reads, compiles and links a thousand modules in one turn; no
// loop, though it takes a second. So it has a budget of its own, for as long as it gets on: a module that spins at its top level does not.

import type { Frame, Paused } from "./inspector.ts";
import { isApplication } from "./resting-place.ts";

const LOADER = "node:internal/modules/";

/** What a stopped turn was loading. */
export interface Loading {
  /** Whose top level runs; undefined: Node itself is at work, it reads, compiles or links. */
  readonly module: string | undefined;
  /** That were compiled by then. */
  readonly modules: number;
}

/** Undefined when the turn was not loading anything. */
export function loadingOf(paused: Paused, modules: number): Loading | undefined {
  const loader = paused.findIndex(({ url }) => url.startsWith(LOADER));
  if (loader < 0) return undefined;
  // The outermost frame that the loader called is the top level of a module; what that called is further in.
  const module = paused.slice(0, loader).findLast((frame: Frame) => isApplication(frame) || isPackage(frame));
  return { module: module?.url, modules };
}

/** Since it was looked at last, the turn came to other code. */
export function getsOn(before: Loading | undefined, now: Loading): boolean {
  return (
    before === undefined || now.module === undefined || now.module !== before.module || now.modules > before.modules
  );
}

function isPackage({ url }: Frame): boolean {
  return url.includes("/node_modules/");
}
