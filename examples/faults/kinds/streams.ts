// Responses that go wrong after their head was sent, or that never come.

import { never, spin, type Faults } from "./fault.ts";

/** Nothing is pulled before the head of the response is sent. */
const LAZY = { highWaterMark: 0 };

export const streams: Faults = {
  "never-settles": { what: "a handler that never answers", run: never },
  "body-never-ends": {
    what: "a body that never ends, of which nothing comes",
    run: () => new Response(new ReadableStream<Uint8Array>({ pull: never }, LAZY)),
  },
  "stream-throw": {
    what: "the body of a response throws",
    run: () =>
      new Response(
        new ReadableStream<Uint8Array>(
          {
            pull() {
              throw new Error("told to");
            },
          },
          LAZY,
        ),
      ),
  },
  "body-spin": {
    what: "an endless loop in the body of a response",
    run: () =>
      new Response(
        new ReadableStream<Uint8Array>(
          {
            pull() {
              spin();
            },
          },
          LAZY,
        ),
      ),
  },
};
