import path from "node:path";
import { expect, test } from "vitest";
import { failureText } from "../../../node/session/failure-text.ts";

function thrown(...frames: string[]): Error {
  const error = new TypeError("it broke");
  error.stack = ["TypeError: it broke", ...frames.map((frame) => `    at ${frame}`)].join("\n");
  return error;
}

const app = path.join(process.cwd(), "app.ts");

test("a client is told the place in the application, past the frames of Node and of packages", () => {
  const error = thrown(
    "Module._load (node:internal/modules/cjs/loader:1956:14)",
    "node:internal/process/task_queues:105:5",
    "parse (/srv/node_modules/zod/index.js:3:4)",
    `async Room.fetch (file://${app}:5:31)`,
  );
  expect(failureText(error, "an error", "detailed")).toBe("TypeError: it broke (app.ts:5:31)");
});

test.each([`file://${app}:7:2`, `async file://${app}:7:2`, `${app}:7:2`, `new Room (${app}:7:2)`])(
  "a frame reads %s",
  (frame) => {
    expect(failureText(thrown(frame), "an error", "detailed")).toBe("TypeError: it broke (app.ts:7:2)");
  },
);

test("without a frame of the application no place is named", () => {
  expect(failureText(thrown("node:internal/modules/cjs/loader:1956:14"), "an error", "detailed")).toBe(
    "TypeError: it broke",
  );
});

test("a client of a real mesh is told nothing of it", () => {
  expect(failureText(thrown(`${app}:7:2`), "an error", "brief")).toBe("an error");
});
