#!/usr/bin/env node
// The `mesh` command.

import module from "node:module";

// Compiled code is kept between starts, for this process and all that it starts: loading takes less than half the time.
const { directory } = module.enableCompileCache();
if (directory !== undefined) process.env["NODE_COMPILE_CACHE"] ??= directory;

const { runCli } = await import("./program.ts");
// Not `exitCode`: whatever a command may have left open, it has ended.
process.exit(await runCli(process.argv.slice(2)));
