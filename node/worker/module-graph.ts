// Which files the application imports, for `mesh dev`: each is told when it is resolved, those of a late `import()` too, and so is
// where a module was looked for in vain. Packages count when they are linked into node_modules (a workspace): their real path is told.

import { registerHooks } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { ModuleReport } from "../ipc.ts";
import { outside } from "../session/current.ts";

/** More files than this are no source that a person changes; the rest is not told. */
const FILES_MAX = 10_000;
/** Up to the root of the file system. */
const FOLDERS_MAX = 32;

const INSTALLED = `${path.sep}node_modules${path.sep}`;
/** What a `require("./db")` may stand for. */
const ENDINGS = ["", ".ts", ".cts", ".js", ".cjs", ".json"];
/** What package managers write last. */
const INSTALL_MARKS = [".package-lock.json", ".modules.yaml", ".yarn-state.yml"];

/** From now on, for the whole life of the process. */
export function tellModules(tell: (report: ModuleReport) => void): void {
  const told = new Set<string>();
  const note = (files: readonly string[], missing: readonly string[]): void => {
    const fresh = [...files, ...missing].filter((file) => !told.has(file));
    if (fresh.length === 0 || told.size >= FILES_MAX) return;
    for (const file of fresh) told.add(file);
    // A late import is a session's; our word about it is not.
    outside(() => tell({ files, missing, atMs: Date.now() }));
  };
  registerHooks({
    resolve(specifier, context, next) {
      try {
        const found = next(specifier, context);
        note(sourcesOf(found.url), []);
        return found;
      } catch (error) {
        note([], candidates(specifier, context.parentURL));
        throw error;
      }
    },
  });
}

function sourcesOf(url: string): string[] {
  if (!url.startsWith("file:")) return [];
  const file = fileURLToPath(url);
  return file.includes(INSTALLED) ? [] : [file];
}

/** Where the module could appear. */
function candidates(specifier: string, parent: string | undefined): string[] {
  if (parent === undefined || !parent.startsWith("file:")) return [];
  const folder = path.dirname(fileURLToPath(parent));
  if (/^(?:\.{0,2}\/|file:)/.test(specifier)) {
    const url = URL.parse(specifier, parent);
    return url === null ? [] : ENDINGS.map((ending) => path.normalize(decoded(url.pathname) + ending));
  }
  const packages = foldersAbove(folder);
  if (specifier.startsWith("#")) return packages.map((at) => path.join(at, "package.json"));
  const name = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  return packages.flatMap((at) => [
    path.join(at, "package.json"),
    ...[path.join(name, "package.json"), ...INSTALL_MARKS].map((file) => path.join(at, "node_modules", file)),
  ]);
}

function decoded(pathname: string): string {
  try {
    return fileURLToPath(`file://${pathname}`);
  } catch {
    return pathname; // Of no file that could appear.
  }
}

/** The folder itself and all above it. */
function foldersAbove(folder: string): string[] {
  const folders = [folder];
  for (let at = folder; folders.length < FOLDERS_MAX && path.dirname(at) !== at; at = path.dirname(at)) {
    folders.push(path.dirname(at));
  }
  return folders;
}
