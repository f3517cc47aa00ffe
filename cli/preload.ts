// `--import`: modules that are loaded before the application in each of its processes and threads, for example tsx, for syntax that Node
// does not run. They are looked for where the application is, as its own dependencies.

import { registerHooks } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { MeshError, messageOf } from "#proto";

/** Flags of this process are those of all that it starts. Throws `bad_app`. */
export function preload(modules: readonly string[], app: string): void {
  for (const module of modules) process.execArgv.push(`--import=${urlOf(module, path.resolve(app))}`);
}

function urlOf(module: string, app: string): string {
  if (/^\.{0,2}\//.test(module) || path.isAbsolute(module)) return pathToFileURL(path.resolve(module)).href;
  const parentURL = pathToFileURL(app).href;
  const hooks = registerHooks({ resolve: (specifier, context, next) => next(specifier, { ...context, parentURL }) });
  try {
    return import.meta.resolve(module);
  } catch (cause) {
    throw new MeshError("bad_app", `--import ${module}: ${messageOf(cause)}; is it installed there?`, { cause });
  } finally {
    hooks.deregister();
  }
}
