// A request whose session was ended by force while it answered at once: then nothing below the session's code goes on, and the request
// is answered by this instead.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Torn } from "../session/turns.ts";
import type { RequestBody } from "./request-body.ts";

export type FailTorn = (
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  body: RequestBody | undefined,
) => void;

export class TornRequest implements Torn {
  readonly #fail: FailTorn;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #body: RequestBody | undefined;

  constructor(fail: FailTorn, request: IncomingMessage, response: ServerResponse, body: RequestBody | undefined) {
    this.#fail = fail;
    this.#request = request;
    this.#response = response;
    this.#body = body;
  }

  torn(error: unknown): void {
    this.#fail(error, this.#request, this.#response, this.#body);
  }
}
