import { expect, test } from "vitest";
import { Roster } from "../../mesh/roster.ts";

interface Guest {
  place: number;
  readonly name: string;
}

function guests(...names: string[]): Guest[] {
  return names.map((name) => ({ place: -1, name }));
}

function rosterOf(all: readonly Guest[]): Roster<Guest> {
  const roster = new Roster<Guest>();
  for (const guest of all) roster.add(guest);
  return roster;
}

const namesIn = (roster: Roster<Guest>): string[] => Array.from(roster, ({ name }) => name).toSorted();

test("whoever came is there once, until it leaves", () => {
  const [a, b, c] = guests("a", "b", "c") as [Guest, Guest, Guest];
  const roster = rosterOf([a, b, c, a]);
  expect(namesIn(roster)).toEqual(["a", "b", "c"]);
  expect(roster.delete(a)).toBe(true);
  expect(roster.delete(a)).toBe(false);
  expect([roster.has(a), roster.has(b), roster.has(c), roster.size]).toEqual([false, true, true, 2]);
  roster.add(a);
  expect(namesIn(roster)).toEqual(["a", "b", "c"]);
});

test("a stranger with the place of somebody else is not there", () => {
  const [a, b] = guests("a", "b") as [Guest, Guest];
  const [stranger] = guests("stranger") as [Guest];
  const roster = rosterOf([a, b]);
  stranger.place = a.place;
  expect([roster.has(stranger), roster.delete(stranger), roster.size]).toEqual([false, false, 2]);
});

test("a walk visits all that stay, whoever leaves meanwhile", () => {
  const all = guests("a", "b", "c", "d", "e", "f");
  for (const first of all) {
    for (const gone of all) {
      const roster = rosterOf(all);
      const visited = new Set<string>();
      for (const guest of roster) {
        visited.add(guest.name);
        if (guest === first) {
          roster.delete(guest);
          roster.delete(gone);
        }
      }
      for (const guest of roster) expect(visited).toContain(guest.name);
      for (const guest of all) roster.delete(guest);
    }
  }
});

test("a walk during which all leave ends", () => {
  const roster = rosterOf(guests("a", "b", "c"));
  let visited = 0;
  for (const guest of roster) {
    visited += 1;
    roster.delete(guest);
  }
  expect([visited, roster.size]).toEqual([3, 0]);
});
