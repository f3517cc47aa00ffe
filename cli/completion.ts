// `mesh completion <shell>`: a script that completes commands and options, made from the command line itself so that it cannot
// lag behind. Where neither fits, the shell completes file names (the application).

import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** A command by the words that lead to it, and what may follow them. */
interface Place {
  readonly words: readonly string[];
  readonly commands: readonly { readonly name: string; readonly what: string }[];
  readonly options: readonly { readonly name: string; readonly what: string }[];
}

export function completionScript(program: Command, shell: Shell): string {
  const places = placesOf(program, []);
  if (shell === "fish") return fishScript(places);
  const bash = bashScript(places);
  return shell === "bash" ? bash : `#compdef mesh\nautoload -Uz bashcompinit && bashcompinit\n${bash}`;
}

function placesOf(command: Command, words: readonly string[]): Place[] {
  const place: Place = {
    words,
    commands: command.commands.map((child) => ({ name: child.name(), what: child.description() })),
    options: command.options
      .filter((option) => !option.hidden)
      .map((option) => ({ name: option.long ?? option.flags, what: option.description })),
  };
  return [place, ...command.commands.flatMap((child) => placesOf(child, [...words, child.name()]))];
}

function bashScript(places: readonly Place[]): string {
  const paths = places.filter((place) => place.words.length > 0).map((place) => `"${pathOf(place)}"`);
  const cases = places.map((place) => {
    const words = [...place.commands, ...place.options].map((entry) => entry.name).concat("--help");
    return `    "${pathOf(place)}") words="${words.join(" ")}" ;;`;
  });
  return `_mesh_complete() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="mesh" words="" at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case "$path \${COMP_WORDS[at]}" in
      ${paths.join(" | ")}) path="$path \${COMP_WORDS[at]}" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _mesh_complete mesh`;
}

function fishScript(places: readonly Place[]): string {
  return places
    .flatMap((place) => {
      const seen = place.words.map((word) => `__fish_seen_subcommand_from ${word}`);
      const next = place.commands.map((entry) => entry.name).join(" ");
      const notFurther = next === "" ? [] : [`not __fish_seen_subcommand_from ${next}`];
      const when = [...seen, ...notFurther].join("; and ");
      const line = (what: string, argument: string): string =>
        `complete -c mesh ${when === "" ? "" : `-n '${when}' `}${argument} -d '${what.replaceAll("'", "\\'")}'`;
      return [
        ...place.commands.map((entry) => line(entry.what, `-f -a ${entry.name}`)),
        ...place.options.map((entry) => line(entry.what, `-l ${entry.name.replace(/^--/, "")}`)),
      ];
    })
    .join("\n");
}

function pathOf(place: Place): string {
  return ["mesh", ...place.words].join(" ");
}
