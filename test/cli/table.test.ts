import { expect, test } from "vitest";
import { duration, renderTable } from "../../cli/table.ts";

test("columns are as wide as their widest cell and numbers stand to the right", () => {
  const table = renderTable(
    [{ title: "SESSION" }, { title: "COUNT", align: "right" }, { title: "NODE" }],
    [
      ["chat/lobby-of-many", 7, "n1"],
      ["cart/x", 123_456, "n2"],
    ],
  );
  expect(table.split("\n")).toEqual([
    "SESSION              COUNT  NODE",
    "chat/lobby-of-many       7  n1",
    "cart/x              123456  n2",
  ]);
});

test("a table without rows is its header", () => {
  expect(renderTable([{ title: "NODE" }, { title: "PID", align: "right" }], [])).toBe("NODE  PID");
});

test("names cannot steer the terminal or break the line", () => {
  const table = renderTable([{ title: "SESSION" }], [["chat/\u001b[31mred\n\u009b2J\u202e"]]);
  expect(table).toBe("SESSION\nchat/?[31mred??2J?");
});

test("characters count as people see them", () => {
  const lines = renderTable(
    [{ title: "A" }, { title: "B" }],
    [
      ["é👩‍👩‍👧", "x"],
      ["abc", "y"],
    ],
  ).split("\n");
  expect(lines[1]).toBe("é👩‍👩‍👧   x");
  expect(lines[2]).toBe("abc  y");
});

test("colour is added after measuring", () => {
  const table = renderTable([{ title: "NODE" }], [["n1"]], (text) => `<b>${text}</b>`);
  expect(table).toBe("<b>NODE</b>\nn1");
});

test.for([
  [0, "0s"],
  [-5, "0s"],
  [59_999, "59s"],
  [200_000, "3m 20s"],
  [7_500_000, "2h 5m"],
  [349_200_000, "4d 1h"],
] as const)("%i ms is %s", ([ms, text]) => {
  expect(duration(ms)).toBe(text);
});
