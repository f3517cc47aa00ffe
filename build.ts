// `npm run build`: makes dist/, which is what the package holds: JavaScript, its source maps, and the declarations that an application can
// reach. The compiler translates relative imports; the other names of files are translated here, so that the source knows of no build.

import { execFileSync } from "node:child_process";
import { copyFileSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const ROOT = import.meta.dirname;
const DIST = path.join(ROOT, "dist");
const PUBLIC = ["node/sessionmesh.d.ts"];

/** Files that are forked or started as threads are named by `new URL`. */
const SIBLING = /(?<=new URL\("\.{1,2}\/[^"]+)\.ts(?=", import\.meta\.url\))/g;
/** In declarations the compiler translates no imports at all. */
const RELATIVE = /(?<=(?:from |import\(|import )"\.{1,2}\/[^"]+)\.ts(?=")/g;
/** #proto and the others. */
const FACADE = /(?<=(?:from |import\(|import )")#[^"]+(?=")/g;
const IMPORTED = /(?:from |import\(|import )"(\.[^"]+)"/g;

const facades = facadesOf(readFileSync(path.join(ROOT, "package.json"), "utf8"));

rmSync(DIST, { recursive: true, force: true });
// The source maps hold the source, comments included.
compile("--removeComments");
compile("--emitDeclarationOnly", "--declaration", "--sourceMap", "false", "--inlineSources", "false");
for (const file of globSync("**/*.js", { cwd: DIST })) edit(file, SIBLING);
for (const file of globSync("**/*.d.ts", { cwd: DIST })) edit(file, RELATIVE);
copyFileSync(path.join(ROOT, "proto/mesh.proto"), path.join(DIST, "proto/mesh.proto"));
const reached = reachable();
for (const file of globSync("**/*.d.ts", { cwd: DIST })) if (!reached.has(file)) rmSync(path.join(DIST, file));

function compile(...flags: string[]): void {
  const tsc = path.join(ROOT, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json", ...flags], { cwd: ROOT, stdio: "inherit" });
}

function edit(file: string, extension: RegExp): void {
  const at = path.join(DIST, file);
  const text = readFileSync(at, "utf8");
  const edited = text
    .replaceAll(extension, ".js")
    .replaceAll(FACADE, (name) => `./${path.posix.relative(path.posix.dirname(file), built(name))}`);
  if (edited !== text) writeFileSync(at, edited);
}

function built(facade: string): string {
  const source = facades.get(facade);
  if (source === undefined) throw new Error(`package.json does not know ${facade}`);
  return source.replace(/^\.\//, "").replace(/\.ts$/, ".js");
}

function reachable(): ReadonlySet<string> {
  const found = new Set(PUBLIC);
  for (const file of found) {
    for (const [, specifier = ""] of readFileSync(path.join(DIST, file), "utf8").matchAll(IMPORTED)) {
      found.add(path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, ".d.ts"));
    }
  }
  return found;
}

function facadesOf(manifest: string): ReadonlyMap<string, string> {
  const { imports }: { readonly imports: Readonly<Record<string, string>> } = JSON.parse(manifest);
  return new Map(Object.entries(imports));
}
