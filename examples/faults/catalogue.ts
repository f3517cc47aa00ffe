// All that can go wrong on demand, by the name it has in a URL.

import { builtIns } from "./kinds/built-ins.ts";
import { endless } from "./kinds/endless.ts";
import { errors } from "./kinds/errors.ts";
import type { Faults } from "./kinds/fault.ts";
import { habits } from "./kinds/habits.ts";
import { imports } from "./kinds/imports.ts";
import { memory } from "./kinds/memory.ts";
import { native } from "./kinds/native.ts";
import { processFaults } from "./kinds/process.ts";
import { streams } from "./kinds/streams.ts";

export const catalogue: Faults = {
  ...errors,
  ...endless,
  ...imports,
  ...memory,
  ...streams,
  ...processFaults,
  ...builtIns,
  ...habits,
  ...native,
};

/** One line each. */
export function listed(): string {
  const width = Math.max(...Object.keys(catalogue).map((name) => name.length));
  return Object.entries(catalogue)
    .map(([name, { what }]) => `${name.padEnd(width)}  ${what}\n`)
    .join("");
}
