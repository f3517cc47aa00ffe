#!/usr/bin/env node
// The `mesh` command as npm installs it. Any Node of the last years can read this file, so that one that is too old gets a sentence
// and not a stack.
"use strict";

const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");
const { engines } = require("../package.json");

/** "26.10.0" -> [26, 10] */
const majorAndMinor = (text) => (/(\d+)\.(\d+)/.exec(text) || []).slice(1).map(Number);

const [major, minor] = majorAndMinor(process.versions.node);
const [neededMajor, neededMinor] = majorAndMinor(engines.node);

if (major < neededMajor || (major === neededMajor && minor < neededMinor)) {
  const words = [path.relative("", __filename)].concat(process.argv.slice(2));
  const again = words.map((word) => (/^[\w@%+=:,./\\-]+$/.test(word) ? word : JSON.stringify(word))).join(" ");
  process.stderr.write(
    `mesh needs Node.js ${neededMajor}.${neededMinor} or later and this is ${process.versions.node}: ` +
      `install one (nvm install 26, or https://nodejs.org), or run: npx -y node@26 ${again}\n`,
  );
  process.exit(1);
}

const built = path.join(__dirname, "../dist/cli/mesh.js");
// A checkout that was not built runs its source.
void import(pathToFileURL(fs.existsSync(built) ? built : path.join(__dirname, "../cli/mesh.ts")).href);
