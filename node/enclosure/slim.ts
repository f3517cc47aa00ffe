// The first import of each entry of an enclosure. It makes the start cheap: `#mesh` is the small part of it that one session needs, and
// what Node compiles, or strips of its types, it keeps in its cache for the next one.

import { enableCompileCache, registerHooks } from "node:module";
import "../own-name.ts";

const WHOLE = new URL("../../mesh/index.ts", import.meta.url).href;
const SMALL = new URL("../../mesh/enclosed.ts", import.meta.url).href;

// A cache that cannot be written only makes the next start slower.
enableCompileCache();
registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    return found.url === WHOLE ? { ...found, url: SMALL } : found;
  },
});
