// docs/api.md: every name that an application may import, from its declaration and doc comment.

import path from "node:path";
import { declarationOf, exportedBy, type Declaration, type Member } from "./declarations.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
const FACADE = path.join(ROOT, "node", "sessionmesh.ts");
const ALIASES = { "#proto": path.join(ROOT, "proto", "index.ts") };

const INTRODUCTION = `# API

What \`import ... from "sessionmesh"\` gives. This page is made from the declarations by \`npm run docs\`; do not edit it.
`;

export function apiPage(): string {
  const declarations = exportedBy(FACADE, ALIASES).map((exported) => declarationOf(exported, ALIASES));
  const index = declarations.map(({ name, kind }) => `| [\`${name}\`](#${anchorOf(name)}) | ${kind} |`);
  return [INTRODUCTION, "| name | is a |", "| --- | --- |", ...index, "", ...declarations.flatMap(section)].join("\n");
}

function section({ name, signature, doc, members }: Declaration): string[] {
  const lines = [`## ${name}`, "", ...(doc === "" ? [] : [prose(doc), ""]), "```ts", signature, "```", ""];
  if (members.length > 0) lines.push("| member | meaning |", "| --- | --- |", ...members.map(row), "");
  return lines;
}

function row({ signature, doc }: Member): string {
  return `| \`${signature.replaceAll("|", "\\|")}\` | ${prose(doc).replaceAll(/\s+/g, " ").replaceAll("|", "\\|")} |`;
}

/** Doc tags as words. */
function prose(doc: string): string {
  return doc
    .replaceAll(/(?:^|\s)@param (\w+) /g, " `$1`: ")
    .replaceAll(/(?:^|\s)@throws /g, " Throws ")
    .replaceAll(/(?:^|\s)@returns? /g, " Returns ")
    .trim();
}

function anchorOf(name: string): string {
  return name.toLowerCase();
}
