// The first import of each entry of an enclosure. It makes the start cheap: `#mesh` is the small part of it that one session needs, and
// what Node compiles, or strips of its types, it keeps in its cache for the next one.

import { enableCompileCache, registerHooks } from "node:module";
import "../own-name.ts";

const OURS = new URL("../../", import.meta.url).href;
const MESH = new URL("../../mesh/enclosed.ts", import.meta.url).href;

// A cache that cannot be written only makes the next start slower.
enableCompileCache();
registerHooks({
  resolve(specifier, context, next) {
    // An application may have a `#mesh` of its own.
    return specifier === "#mesh" && context.parentURL?.startsWith(OURS) === true
      ? { url: MESH, shortCircuit: true }
      : next(specifier, context);
  },
});
