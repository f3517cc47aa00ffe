// What the compiler can say of a session class that `defineMesh` is given, and what is said again when the application is loaded, where
// there is no compiler: names that nobody reads, because they are a slip of a name that is read, and options that do not exist.
//
// A subclass may have methods of any name, so only a near miss is a fault: `onGameOver` is fine, `onMesage` is not.

import type { SessionOptions } from "./options.ts";
import type { SessionClass, SessionServer } from "./server.ts";

/** The hooks that a session class may have. */
type Hook = Extract<keyof SessionServer, `on${string}`>;
/** What is read of the class itself. */
type Static = Extract<keyof SessionClass, string>;

/** A class without a fault is itself; of any other the type is a sentence that says what is wrong. */
export type CheckedClass<Class> = [Fault<Class>] extends [never] ? Class : Fault<Class>;

type Fault<Class> =
  | (Class extends { readonly prototype: infer Server } ? Slip<keyof Server & string, Hook> : never)
  | Slip<keyof Class & string, Static>
  | (Class extends { readonly options: infer Options } ? OptionFault<Options, SessionOptions, "options"> : never);

type OptionFault<Given, Wanted, Path extends string> = {
  [Key in keyof Given & string]-?: Key extends keyof Wanted
    ? ValueFault<Given[Key], NonNullable<Wanted[Key]>, `${Path}.${Key}`>
    : `${Path} has no "${Key}"`;
}[keyof Given & string];

type ValueFault<Given, Wanted, Path extends string> = [Given] extends [Wanted | undefined]
  ? Wanted extends object
    ? OptionFault<NonNullable<Given>, Wanted, Path>
    : never
  : // Without `as const` a word is any string; then the check at the start of the application is the one that knows.
    [Wanted, string] extends [string, Given]
    ? never
    : [Wanted, Given] extends [object, object]
      ? OptionFault<Given, Wanted, Path>
      : `${Path} cannot have this value`;

type Slip<Name extends string, Known extends string> = Name extends Known
  ? never
  : { [Word in Known]: IsSlip<Lowercase<Name>, Lowercase<Word>> extends true ? SlipMessage<Name, Word> : never }[Known];

type SlipMessage<Name extends string, Known extends string> = `"${Name}" is called by nobody: did you mean "${Known}"?`;

/** A letter too few, too many or two in the wrong order; in a long name also another letter: `onStep` is no slip of `onStop`. */
type IsSlip<Name extends string, Word extends string> = Name extends Word | Shortened<Word> | Swapped<Word>
  ? true
  : Word extends Shortened<Name>
    ? true
    : IsLong<Word> extends true
      ? [Extract<Shortened<Name>, Shortened<Word>>] extends [never]
        ? false
        : true
      : false;

type Shortened<Word extends string, Head extends string = ""> = Word extends `${infer First}${infer Rest}`
  ? `${Head}${Rest}` | Shortened<Rest, `${Head}${First}`>
  : never;

type Swapped<Word extends string, Head extends string = ""> = Word extends `${infer First}${infer Next}${infer Rest}`
  ? `${Head}${Next}${First}${Rest}` | Swapped<`${Next}${Rest}`, `${Head}${First}`>
  : never;

/** Nine letters and more. */
type IsLong<Word extends string> =
  Word extends `${infer _1}${infer _2}${infer _3}${infer _4}${infer _5}${infer _6}${infer _7}${infer _8}${infer _9}`
    ? _9 extends ""
      ? false
      : true
    : false;

const LONG = 9;
const HOOKS: Readonly<Record<Hook, true>> = {
  onStart: true,
  onConnect: true,
  onMessage: true,
  onClose: true,
  onError: true,
  onStop: true,
};
const STATICS: Readonly<Record<Static, true>> = {
  options: true,
  onBeforeRequest: true,
  onBeforeConnect: true,
  protocols: true,
};

/** The statics that nothing else would be called. */
const GUARDS: readonly Static[] = ["onBeforeRequest", "onBeforeConnect"];

/** What a class of another system calls a hook, where it would be the only one of its purpose. */
const ELSEWHERE: Readonly<Record<string, "fetch" | Hook>> = {
  onRequest: "fetch",
  webSocketMessage: "onMessage",
  webSocketClose: "onClose",
  webSocketError: "onError",
  onJoin: "onConnect",
  onLeave: "onClose",
};

/**
 * What is wrong with the names of a class; undefined when nothing is. A guard that nobody calls lets everybody in, so statics are
 * read with their methods and those of the classes above. `base`: the class at which the user's own ones begin.
 */
export function slipOf(server: SessionClass & { readonly prototype: object }, base: SessionBase): string | undefined {
  const members = namesUpTo(server.prototype, base.prototype);
  const statics = namesUpTo(server, base);
  return (
    slipAmong(members, Object.keys(HOOKS)) ??
    slipAmong(statics, Object.keys(STATICS)) ??
    misplaced(members, GUARDS, "must be static") ??
    misplaced(statics, Object.keys(HOOKS), "must not be static") ??
    foreign(members)
  );
}

interface SessionBase {
  readonly prototype: object;
}

function namesUpTo(from: object, base: object): readonly string[] {
  const names: string[] = [];
  let object: unknown = from;
  while (object !== base && ((typeof object === "object" && object !== null) || typeof object === "function")) {
    names.push(...Object.getOwnPropertyNames(object));
    object = Object.getPrototypeOf(object);
  }
  return names;
}

function misplaced(names: readonly string[], known: readonly string[], fault: string): string | undefined {
  const name = names.find((candidate) => known.includes(candidate));
  return name === undefined ? undefined : `"${name}" ${fault}`;
}

/** A class may have methods of these names for itself, next to the hook of this system. */
function foreign(names: readonly string[]): string | undefined {
  for (const [name, here] of Object.entries(ELSEWHERE)) {
    if (names.includes(name) && !names.includes(here))
      return `"${name}" is called by nobody: here it is ${here}() (docs/coming-from.md)`;
  }
  return undefined;
}

function slipAmong(names: readonly string[], known: readonly string[]): string | undefined {
  for (const name of names) {
    if (known.includes(name)) continue;
    const meant = known.find((word) => isSlip(name.toLowerCase(), word.toLowerCase()));
    if (meant !== undefined) return `"${name}" is called by nobody: did you mean "${meant}"?`;
  }
  return undefined;
}

function isSlip(name: string, word: string): boolean {
  const shortened = shorten(word);
  if (name === word || shortened.has(name) || shorten(name).has(word) || isSwapped(name, word)) return true;
  return word.length >= LONG && !shorten(name).isDisjointFrom(shortened);
}

/** The word without one of its letters, in every way. */
function shorten(word: string): ReadonlySet<string> {
  return new Set(Array.from(word, (_, at) => word.slice(0, at) + word.slice(at + 1)));
}

function isSwapped(name: string, word: string): boolean {
  let at = 0;
  while (at < word.length && word[at] === name[at]) at += 1;
  return name === word.slice(0, at) + (word[at + 1] ?? "") + (word[at] ?? "") + word.slice(at + 2);
}
