import { expect, test } from "vitest";
import { Line } from "../../../node/session/line.ts";

test("who comes first is served first, also when others come in between", () => {
  const line = new Line<{ readonly number: number }>();
  const served: number[] = [];
  let came = 0;
  const come = (count: number): void => {
    for (let left = count; left > 0; left--) line.push({ number: ++came });
  };
  const serve = (count: number): void => {
    for (let left = count; left > 0; left--) served.push(line.shift()?.number ?? 0);
  };
  come(3);
  serve(1);
  come(2);
  serve(4);
  serve(1);
  come(1);
  serve(2);
  expect(served).toEqual([1, 2, 3, 4, 5, 0, 6, 0]);
});
