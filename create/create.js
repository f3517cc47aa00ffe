#!/usr/bin/env node
// `npm create sessionmesh [folder]`: makes a folder with an application, a page, a test and what runs it in containers, and installs what it
// needs. Asks nothing, and touches no folder that holds anything. Runs on any Node that npm itself runs on: where that one is too old for
// the mesh, the application gets a Node of its own.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const NODE = "26.10.0";
const NODE_NEEDED = [24, 12];
const USAGE = `npm create sessionmesh [folder]

  folder                   is made; default: my-mesh
  --sessionmesh <version>  version of sessionmesh, or the path of a tarball; default: that of this program
  --no-install             leave npm install to you
`;

const options = optionsOf(process.argv.slice(2));
if (options === undefined) {
  process.stdout.write(USAGE);
} else {
  process.exitCode = create(options);
}

function optionsOf(words) {
  const { version } = JSON.parse(readFileSync(new URL("./package.json", import.meta.url), "utf8"));
  const found = { folder: "my-mesh", sessionmesh: version, install: true };
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === "--no-install") found.install = false;
    else if (word === "--sessionmesh" && words[at + 1] !== undefined) found.sessionmesh = words[(at += 1)];
    else if (word.startsWith("-")) return undefined;
    else found.folder = word;
  }
  return found;
}

function create({ folder, sessionmesh, install }) {
  const at = path.resolve(folder);
  if (existsSync(at) && readdirSync(at).length > 0) {
    return fail(`${at} is not empty: name another folder, npm create sessionmesh <folder>`);
  }
  mkdirSync(at, { recursive: true });
  cpSync(fileURLToPath(new URL("./template", import.meta.url)), at, { recursive: true });
  // npm leaves files of this name out of packages.
  renameSync(path.join(at, "gitignore"), path.join(at, ".gitignore"));
  writeFileSync(path.join(at, "package.json"), `${JSON.stringify(manifest(at, sessionmesh), null, 2)}\n`);
  if (install) {
    const done = spawnSync("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: at,
      stdio: "inherit",
      shell: process.platform === "win32",
    });
    if (done.status !== 0) return fail(`npm install failed in ${at}: run it there once more`);
  }
  const into = path.relative("", at);
  const steps = [...(into === "" ? [] : [`cd ${/\s/.test(into) ? JSON.stringify(into) : into}`]), "npm start"];
  if (!install) steps.splice(-1, 0, "npm install");
  process.stdout.write(`\nmade ${at}\n\n${steps.map((step) => `  ${step}\n`).join("")}\n`);
  return 0;
}

function manifest(at, sessionmesh) {
  const isOld = isOlder(process.versions.node.split(".").map(Number), NODE_NEEDED);
  return {
    name: nameOf(at),
    version: "0.0.0",
    private: true,
    type: "module",
    scripts: {
      // The page is read, not imported.
      start: "mesh dev app.ts --watch page.html",
      up: "mesh up app.ts --nodes 3",
      test: "node --test",
      types: "tsc",
    },
    dependencies: { sessionmesh: existsSync(sessionmesh) ? `file:${path.resolve(sessionmesh)}` : sessionmesh },
    devDependencies: { ...(isOld && { node: NODE }), typescript: "^7.0.2" },
    engines: { node: `>=${NODE_NEEDED.join(".")}` },
    // What npm asks about: Node comes by its install script, the other has nothing to do here.
    allowScripts: { ...(isOld && { [`node@${NODE}`]: true }), protobufjs: false },
  };
}

function isOlder([major, minor], [neededMajor, neededMinor]) {
  return major < neededMajor || (major === neededMajor && minor < neededMinor);
}

/** What npm takes for a name. */
function nameOf(at) {
  const name = path
    .basename(at)
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return name === "" ? "my-mesh" : name;
}

function fail(why) {
  process.stderr.write(`${why}\n`);
  return 1;
}
