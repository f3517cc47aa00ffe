// Puts the light classes in the place of the global ones. Done once a process, before application code is loaded; code that
// took the native classes earlier goes on working, since the light objects are instances of them as well.

import { LightResponse } from "./light-response.ts";
import { nativeFetch, NativeRequest } from "./native.ts";
import { unwrapRequest } from "./lazy-request.ts";

/** Replaces `Response`, and lets `Request` and `fetch` take the requests that sessions are given. Idempotent. */
export function installWebClasses(): void {
  globalThis.Response = LightResponse;
  globalThis.Request = UnwrappingRequest;
  globalThis.fetch = unwrappingFetch;
}

// Undici reads private state of a Request that it is given, which a lazy one does not have. A proxy keeps all else of the
// class: statics, prototype, `instanceof`, subclassing.
const UnwrappingRequest: typeof Request = new Proxy(NativeRequest, {
  construct(native, parameters: unknown[], target) {
    parameters[0] = unwrapRequest(parameters[0]);
    return Reflect.construct(native, parameters, target);
  },
});

const unwrappingFetch: typeof fetch = (...parameters: unknown[]) => {
  parameters[0] = unwrapRequest(parameters[0]);
  return Reflect.apply(nativeFetch, undefined, parameters);
};
Object.defineProperty(unwrappingFetch, "name", { value: "fetch" });
