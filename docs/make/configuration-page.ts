// docs/configuration.md: every variable of a node, from the fields of NodeConfig and their doc comments.

import path from "node:path";
import { configDefaults } from "../../node/config.ts";
import { membersOf } from "./declarations.ts";

const CONFIG = path.join(import.meta.dirname, "..", "..", "node", "config.ts");
const VARIABLE = /\b(MESH_[A-Z_]+|NATS_URL|REDIS_URL)\b/;

const INTRODUCTION = `# Configuration

A node is configured by environment variables. The defaults suit most; \`NATS_URL\` is all that a real mesh needs.
A value that is wrong, or two that contradict each other, end the start with \`bad_config\` and a line that says what to change.
This page is made from [node/config.ts](../node/config.ts) by \`npm run docs\`; do not edit it.

| variable | default | meaning |
| --- | --- | --- |
`;

export function configurationPage(): string {
  const rows = membersOf(CONFIG, "NodeConfig").flatMap(({ name, doc }) => {
    const variable = VARIABLE.exec(doc.slice(doc.lastIndexOf(". ")))?.[1] ?? VARIABLE.exec(doc)?.[1];
    if (variable === undefined) return [];
    return [`| \`${variable}\` | ${defaultOf(name)} | ${meaningOf(doc, variable)} |`];
  });
  return INTRODUCTION + rows.join("\n") + "\n";
}

function defaultOf(field: string): string {
  const value: unknown = Object.entries(configDefaults).find(([name]) => name === field)?.[1];
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value !== "" ? `\`${value}\`` : "";
}

/** Without the name of the variable: the first column has it. */
function meaningOf(doc: string, variable: string): string {
  return doc
    .replaceAll(/\s+/g, " ")
    .replace(`. ${variable}; default:`, ". Default:")
    .replace(`. ${variable}, as `, ". Written as ")
    .replace(`. ${variable}.`, ".")
    .replaceAll("|", "\\|")
    .trim();
}
