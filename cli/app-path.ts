// The application as the user names it, checked before anything is started for it.

import { statSync } from "node:fs";
import path from "node:path";
import { MeshError } from "#proto";

/** The absolute path of the module. Throws `bad_app`. */
export function appPath(app: string): string {
  const file = path.resolve(app);
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) throw new MeshError("bad_app", `there is no application at ${file}`);
  if (stats.isDirectory())
    throw new MeshError(
      "bad_app",
      `${file} is a folder: name the module itself, for example ${path.join(app, "app.ts")}`,
    );
  return file;
}
