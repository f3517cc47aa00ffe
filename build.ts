// `npm run build`: makes dist/, which is what the package holds: JavaScript, its source maps, and the declarations that an application can
// reach. The compiler translates the imports; what it leaves alone is translated here, so that the source needs to know of no build.

import { execFileSync } from "node:child_process";
import { copyFileSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const ROOT = import.meta.dirname;
const DIST = path.join(ROOT, "dist");
const PUBLIC = ["node/sessionmesh.d.ts"];

/** Files that are forked or started as threads are named by `new URL`. */
const SIBLING = /(new URL\("\.{1,2}\/[^"]+)\.ts(", import\.meta\.url\))/g;
/** Relative imports of declarations, inline ones included. */
const DECLARED = /((?:from |import\(|import )"\.{1,2}\/[^"]+)\.ts(?=")/g;
const IMPORTED = /(?:from |import\(|import )"([.#][^"]+)"/g;

interface Manifest {
  readonly version: string;
  readonly imports: Readonly<Record<string, string>>;
}

rmSync(DIST, { recursive: true, force: true });
execFileSync(process.execPath, [path.join(ROOT, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
  cwd: ROOT,
  stdio: "inherit",
});
for (const file of globSync("**/*.js", { cwd: DIST })) edit(file, SIBLING, "$1.js$2");
for (const file of globSync("**/*.d.ts", { cwd: DIST })) edit(file, DECLARED, "$1.js");
const { version, imports } = manifest();
const inDist = Object.fromEntries(Object.entries(imports).map(([name, file]) => [name, file.replace(/\.ts$/, ".js")]));
// A scope of its own: the same names mean the source in a checkout and the built files in here.
writeFileSync(
  path.join(DIST, "package.json"),
  `${JSON.stringify({ version, type: "module", imports: inDist }, null, 2)}\n`,
);
copyFileSync(path.join(ROOT, "proto/mesh.proto"), path.join(DIST, "proto/mesh.proto"));
const reached = reachable();
for (const file of globSync("**/*.d.ts", { cwd: DIST })) if (!reached.has(file)) rmSync(path.join(DIST, file));

function edit(file: string, what: RegExp, by: string): void {
  const at = path.join(DIST, file);
  const text = readFileSync(at, "utf8");
  const edited = text.replaceAll(what, by);
  if (edited !== text) writeFileSync(at, edited);
}

function reachable(): ReadonlySet<string> {
  const found = new Set(PUBLIC);
  for (const file of found) {
    for (const [, specifier = ""] of readFileSync(path.join(DIST, file), "utf8").matchAll(IMPORTED)) {
      const target = specifier.startsWith("#") ? inDist[specifier] : path.join(path.dirname(file), specifier);
      if (target === undefined) throw new Error(`${file} imports ${specifier}, which package.json does not know`);
      found.add(path.normalize(target).replace(/\.js$/, ".d.ts"));
    }
  }
  return found;
}

function manifest(): Manifest {
  // Our own file.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as Manifest;
}
