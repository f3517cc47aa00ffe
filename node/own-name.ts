// The package's own name in a checkout. There `exports` of package.json names what `npm run build` would make, and applications of the
// checkout that import "sessionmesh" mean its source. The first import of each entry that loads an application; in the built package
// it does nothing.

import { registerHooks } from "node:module";

if (import.meta.url.endsWith(".ts")) {
  const { href } = new URL("./sessionmesh.ts", import.meta.url);
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === "sessionmesh" ? { url: href, shortCircuit: true } : next(specifier, context),
  });
}
