// The copy of this package that an application has among its own dependencies runs it, whichever copy `mesh` was started from: a global
// one, one of a container image, one higher up in a monorepo. Else the application would extend classes that the node does not know.

import { realpathSync } from "node:fs";
import { findPackageJSON } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
/** A checkout runs its source, for every application. */
const IS_SOURCE = import.meta.url.endsWith(".ts");

/** Comes back only where the copy that runs is the application's own, or it has none. */
export async function useOwnCopy(app: string): Promise<void> {
  const own = IS_SOURCE ? undefined : copyOf(path.resolve(app));
  if (own === undefined || own === realpathSync(PACKAGE)) return;
  await import(pathToFileURL(path.join(own, "bin", "mesh.cjs")).href);
  // It ends this process.
  await new Promise(() => {});
}

function copyOf(app: string): string | undefined {
  try {
    const manifest = findPackageJSON("sessionmesh", pathToFileURL(app));
    return manifest === undefined ? undefined : realpathSync(path.dirname(manifest));
  } catch {
    // It imports none: what it imports instead, or that it is missing, is said when it is loaded.
    return undefined;
  }
}
