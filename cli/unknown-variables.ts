// A `MESH_...` variable that nothing reads is a slip of typing that would go unseen: the setting keeps its default. It is named, and
// what was meant where that can be guessed; whatever it is, it is no reason not to start.

/** Set for nodes that a launcher starts: it has said it already. */
export const LAUNCHED_ENV = "SESSIONMESH_LAUNCHED";

/** Letters that may differ between what was typed and what was meant. */
const SLIPS_MAX = 3;

/** One line a variable. */
export async function unknownVariables(env: Readonly<Record<string, string | undefined>>): Promise<string[]> {
  const names = Object.keys(env).filter((name) => name.startsWith("MESH_"));
  if (names.length === 0 || env[LAUNCHED_ENV] !== undefined) return [];
  // Not at the top: it brings all of a node, and most have no such variable.
  const { configVariables } = await import("#node");
  const known = configVariables();
  return names.filter((name) => !known.includes(name)).map((name) => lineOf(name, known));
}

function lineOf(name: string, known: readonly string[]): string {
  const slips = (other: string): number => distance(name, other);
  const [nearest] = known.toSorted((a, b) => slips(a) - slips(b));
  const meant = nearest !== undefined && slips(nearest) <= SLIPS_MAX ? ` Did you mean ${nearest}?` : "";
  return `nothing reads the variable ${name}.${meant}`;
}

/** Levenshtein's: insertions, deletions and replacements from one to the other. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [at, letter] of Array.from(one).entries()) {
    const next = [at + 1];
    for (const [to, wanted] of Array.from(other).entries()) {
      const replaced = (row[to] ?? 0) + (letter === wanted ? 0 : 1);
      next.push(Math.min(replaced, (row[to + 1] ?? 0) + 1, (next[to] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
