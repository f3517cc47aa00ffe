#!/usr/bin/env node
// The `mesh` command.

import { runCli } from "./program.ts";

// Not `exitCode`: whatever a command may have left open, it has ended.
process.exit(await runCli(process.argv.slice(2)));
