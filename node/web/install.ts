// Puts the light classes in the place of the global ones. Done once a process, before application code is loaded; code that
// took the native classes earlier goes on working, since instances of both have one prototype.

import { noteDecoded } from "./decoded.ts";
import { LightResponse } from "./light-response.ts";
import { nativeFetch, NativeRequest, NativeResponse } from "./native.ts";
import { unwrapRequest } from "./lazy-request.ts";
import { noteWhole } from "./whole-body.ts";

/** Replaces `Response`, and lets `Request` and `fetch` take the requests that sessions are given. Idempotent. */
export function installWebClasses(): void {
  globalThis.Response = SessionResponse;
  globalThis.Request = SessionRequest;
  globalThis.fetch = sessionFetch;
  NativeResponse.prototype.constructor = SessionResponse;
  NativeRequest.prototype.constructor = SessionRequest;
}

// Undici reads private state of a Request that it is given, which a lazy one does not have. A proxy keeps all else of the
// class: statics, prototype, `instanceof`, subclassing.
const SessionRequest: typeof Request = new Proxy(NativeRequest, {
  construct(native, parameters: unknown[], target) {
    if (parameters.length > 0) parameters[0] = unwrapRequest(parameters[0]);
    const made: Request = Reflect.construct(native, parameters, target);
    noteWhole(made, parameters[0], parameters[1]);
    return made;
  },
});

const SessionResponse = responseClass();

/** Not a proxy as above, which takes ten times as long; nor a class, which cannot have the prototype of another. */
function responseClass(): typeof Response {
  function construct(this: Response, body?: BodyInit | null, init?: ResponseInit): void {
    if (new.target === undefined) throw new TypeError("Class constructor Response cannot be invoked without 'new'");
    // Gives what it holds to `this`.
    // oxlint-disable-next-line no-new
    new LightResponse(this, body, init);
  }
  const statics = Object.getOwnPropertyDescriptors(NativeResponse);
  Object.defineProperties(construct, { ...statics, json: { ...statics.json, value: jsonMethod() } });
  // TypeScript takes a function for no class.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return construct as unknown as typeof Response;
}

function jsonMethod(): typeof Response.json {
  // A member of an object is no constructor, like the native one.
  const { json } = {
    json(data: unknown, init?: ResponseInit): Response {
      if (data !== undefined) return LightResponse.json(data, init);
      // Undici tells whether the argument is missing.
      return arguments.length === 0
        ? Reflect.apply(NativeResponse.json, NativeResponse, [])
        : NativeResponse.json(data, init);
    },
  };
  return Object.defineProperty(json, "length", { value: NativeResponse.json.length });
}

const sessionFetch: typeof fetch = function fetch(input, ...init) {
  // The first is what undici wants, or something for it to refuse.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return nativeFetch(unwrapRequest(input) as RequestInfo, ...init).then(noteDecoded);
};
