// What a module declares, read from its source: names, signatures and doc comments, in the order of
// the source. Knows nothing of the pages that are made of them.

import { readFileSync } from "node:fs";
import path from "node:path";
import {
  parseSync,
  type ClassElement,
  type Comment,
  type Directive,
  type ParseResult,
  type Statement,
  type TSSignature,
} from "oxc-parser";

export interface Member {
  readonly name: string;
  /** On one line, without a body. */
  readonly signature: string;
  readonly doc: string;
}

export interface Declaration {
  readonly name: string;
  readonly kind: "class" | "interface" | "type" | "function" | "const";
  /** Without members and bodies. */
  readonly signature: string;
  readonly doc: string;
  readonly members: readonly Member[];
}

/** An exported name and the file that declares it. */
export interface Exported {
  readonly name: string;
  readonly from: string;
}

class Source {
  readonly file: string;
  readonly #text: string;
  readonly #parsed: ParseResult;

  constructor(file: string) {
    this.file = file;
    this.#text = readFileSync(file, "utf8");
    this.#parsed = parseSync(file, this.#text);
    const [error] = this.#parsed.errors;
    if (error !== undefined) throw new Error(`${file}: ${error.message}`);
  }

  get body(): readonly (Directive | Statement)[] {
    return this.#parsed.program.body;
  }

  /** One line, comments taken out. */
  line(start: number, end: number): string {
    return this.#text
      .slice(start, end)
      .replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, "")
      .replaceAll(/\s+/g, " ")
      .replaceAll(/\( /g, "(")
      .replaceAll(/,? \)/g, ")")
      .replace(/[;\s]+$/, "")
      .trim();
  }

  /** The doc comment that ends where the node begins. */
  doc(start: number): string {
    const comment = this.#parsed.comments.findLast((candidate) => candidate.end <= start);
    if (comment === undefined || !isDoc(comment)) return "";
    if (this.#text.slice(comment.end, start).trim() !== "") return "";
    return comment.value
      .slice(1)
      .split("\n")
      .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
      .join("\n")
      .trim();
  }
}

function isDoc(comment: Comment): boolean {
  return comment.type === "Block" && comment.value.startsWith("*");
}

/** The names that a facade passes on, each with the file that it names. `#proto` and the like are looked up in `aliases`. */
export function exportedBy(facade: string, aliases: Readonly<Record<string, string>>): Exported[] {
  const found: Exported[] = [];
  for (const statement of new Source(facade).body) {
    if (statement.type !== "ExportNamedDeclaration" || statement.source === null) continue;
    const specifier = statement.source.value;
    const from = aliases[specifier] ?? path.join(path.dirname(facade), specifier);
    for (const { exported } of statement.specifiers) {
      if (exported.type !== "Literal") found.push({ name: exported.name, from });
    }
  }
  return found;
}

/** Follows `from` through further facades to the declaration of `name`. */
export function declarationOf({ name, from }: Exported, aliases: Readonly<Record<string, string>>): Declaration {
  const source = new Source(from);
  for (const statement of source.body) {
    const declared = declaredIn(source, statement, name);
    if (declared !== undefined) return declared;
  }
  const further = exportedBy(from, aliases).find((exported) => exported.name === name);
  if (further === undefined) throw new Error(`${from} does not declare ${name}`);
  return declarationOf(further, aliases);
}

/** The members of an interface, for pages that are about one. */
export function membersOf(file: string, name: string): readonly Member[] {
  return declarationOf({ name, from: file }, {}).members;
}

function declaredIn(source: Source, statement: Directive | Statement, name: string): Declaration | undefined {
  if (statement.type !== "ExportNamedDeclaration") return undefined;
  const { declaration } = statement;
  const doc = source.doc(statement.start);
  switch (declaration?.type) {
    case "ClassDeclaration": {
      if (declaration.id?.name !== name) return undefined;
      const { body } = declaration;
      const members = body.body.flatMap((element) => classMember(source, element) ?? []);
      return { name, kind: "class", signature: source.line(declaration.start, body.start), doc, members };
    }
    case "TSInterfaceDeclaration": {
      if (declaration.id.name !== name) return undefined;
      const { body } = declaration;
      const members = body.body.flatMap((element) => interfaceMember(source, element) ?? []);
      return { name, kind: "interface", signature: source.line(declaration.start, body.start), doc, members };
    }
    case "TSTypeAliasDeclaration":
      if (declaration.id.name !== name) return undefined;
      return { name, kind: "type", signature: source.line(declaration.start, declaration.end), doc, members: [] };
    case "FunctionDeclaration": {
      if (declaration.id?.name !== name) return undefined;
      const end = declaration.body?.start ?? declaration.end;
      return { name, kind: "function", signature: source.line(declaration.start, end), doc, members: [] };
    }
    case "VariableDeclaration": {
      const [first] = declaration.declarations;
      if (first?.id.type !== "Identifier" || first.id.name !== name) return undefined;
      return { name, kind: "const", signature: source.line(declaration.start, first.id.end), doc, members: [] };
    }
    default:
      return undefined;
  }
}

function classMember(source: Source, element: ClassElement): Member | undefined {
  switch (element.type) {
    case "MethodDefinition":
    case "TSAbstractMethodDefinition": {
      if (element.key.type !== "Identifier" || element.accessibility === "private") return undefined;
      if (element.kind === "constructor") return undefined;
      const end = element.value.body?.start ?? element.end;
      return member(source, element.key.name, element.start, end);
    }
    case "PropertyDefinition": {
      if (element.key.type !== "Identifier" || element.accessibility === "private") return undefined;
      return member(source, element.key.name, element.start, element.value?.start ?? element.end);
    }
    default:
      return undefined;
  }
}

function interfaceMember(source: Source, element: TSSignature): Member | undefined {
  if (element.type !== "TSPropertySignature" && element.type !== "TSMethodSignature") return undefined;
  if (element.key.type !== "Identifier") return undefined;
  return member(source, element.key.name, element.start, element.end);
}

function member(source: Source, name: string, start: number, end: number): Member {
  return { name, signature: source.line(start, end).replace(/ ?=$/, ""), doc: source.doc(start) };
}
