// Asks the application, before anything of a session is touched, whether a request may go on: `authorize`, then the class's own hook.
// Fails closed: what throws, takes too long or gives back what nobody understands lets nobody in.

import { encodeClaims, MeshError, type HeaderList, type SessionId } from "#proto";
import type { SessionReply } from "#mesh";
import type { Log } from "../log.ts";
import { isPlainClaims, type Authorize, type BeforeHook, type KindHooks } from "../session/admission.ts";
import { visit } from "../session/visiting.ts";
import { isThenable } from "../session/current.ts";
import { flatten, isResponse, replyOf, requestOf } from "../web/web.ts";
import type { RoutedRequest } from "./routes.ts";

/** Of each hook. Too small: a slow user directory locks everybody out; too large: requests pile up behind one that hangs. */
export const HOOK_LIMIT_MS = 10_000;

export interface DoorOptions {
  readonly authorize: Authorize | undefined;
  /** Throws `unknown_kind`. */
  readonly hooksOf: (kind: string) => KindHooks;
  readonly log: Log;
}

/** What the request goes on with. */
export interface Admitted {
  readonly headers: HeaderList;
  readonly claims: Uint8Array | undefined;
}

export class Door {
  readonly #options: DoorOptions;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** Undefined: nobody wants to be asked. Else rejects MeshError only; a reply is the application's refusal. */
  admit(id: SessionId, request: RoutedRequest, upgrade: boolean): Promise<Admitted | SessionReply> | undefined {
    const { authorize, hooksOf } = this.#options;
    const hooks = hooksOf(id.kind);
    const hook = upgrade ? hooks.onBeforeConnect : hooks.onBeforeRequest;
    if (authorize === undefined && hook === undefined) return undefined;
    return this.#ask(id, request, hook, upgrade ? "onBeforeConnect" : "onBeforeRequest");
  }

  async #ask(
    { kind, name }: SessionId,
    routed: RoutedRequest,
    hook: BeforeHook | undefined,
    hookName: string,
  ): Promise<Admitted | SessionReply> {
    const { authorize } = this.#options;
    const ip = routed.ip === "" ? undefined : routed.ip;
    let passed: Passed = { headers: routed.headers, claims: undefined };
    if (authorize !== undefined) {
      const judged = await this.#judge("authorize", routed, passed, (request) =>
        authorize({ kind, name, request, ip }),
      );
      if ("status" in judged) return judged;
      passed = judged;
    }
    if (hook !== undefined) {
      const lobby = { kind, name, ip, claims: passed.claims };
      const judged = await this.#judge(`${hookName} of ${kind}`, routed, passed, (request) => hook(request, lobby));
      if ("status" in judged) return judged;
      passed = judged;
    }
    return { headers: passed.headers, claims: passed.claims === undefined ? undefined : this.#encoded(passed.claims) };
  }

  async #judge(
    what: string,
    { method, url, ip }: RoutedRequest,
    passed: Passed,
    ask: (request: Request) => unknown,
  ): Promise<Passed | SessionReply> {
    const limit = new HookLimit(what, this.#options.log);
    const request = requestOf({ method, url, headers: passed.headers, body: null }, limit.signal);
    let verdict: unknown;
    try {
      verdict = await limit.race(visit(ip, () => ask(request)));
    } catch (thrown) {
      if (isResponse(thrown)) verdict = thrown;
      else if (thrown instanceof MeshError) throw thrown;
      else throw this.#failed(what, thrown);
    } finally {
      limit.clear();
    }
    if (verdict === undefined || verdict === true) return passed;
    if (verdict === false) throw new MeshError("forbidden", "the application does not allow this request");
    try {
      if (isResponse(verdict)) return replyOf(verdict, what);
      if (isRequest(verdict)) return { ...passed, headers: flatten(verdict.headers) };
    } catch (error) {
      throw this.#failed(what, error);
    }
    if (isPlainClaims(verdict)) return { ...passed, claims: verdict };
    const allowed = "nothing, true, false, a Response, a Request or a plain object of claims";
    throw this.#failed(what, new TypeError(`${what} must return ${allowed}, not ${shown(verdict)}`));
  }

  #encoded(claims: Passed["claims"] & object): Uint8Array {
    try {
      return encodeClaims(claims);
    } catch (error) {
      throw this.#failed("passing claims on", error);
    }
  }

  /** The client hears nothing of what went wrong. */
  #failed(what: string, error: unknown): MeshError {
    this.#options.log.error(`${what} failed, so the request was refused`, { error });
    return new MeshError("internal", "the application could not say whether this request is allowed", { cause: error });
  }
}

interface Passed {
  readonly headers: HeaderList;
  readonly claims: Readonly<Record<string, unknown>> | undefined;
}

/** The time of one hook. A hook that answers at once costs no timer, and one that does not look at its signal no controller. */
class HookLimit {
  readonly #what: string;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;

  constructor(what: string, log: Log) {
    this.#what = what;
    this.#log = log;
  }

  readonly signal = (): AbortSignal => (this.#controller ??= new AbortController()).signal;

  race(verdict: unknown): unknown {
    if (!isThenable(verdict)) return verdict;
    const late = Promise.withResolvers<never>();
    this.#timer = setTimeout(() => {
      const error = new MeshError("timeout", "the application did not say in time whether this request is allowed");
      this.#log.error(`${this.#what} did not settle within ${HOOK_LIMIT_MS} ms, so the request was refused`);
      this.#controller?.abort(error);
      late.reject(error);
    }, HOOK_LIMIT_MS);
    return Promise.race([verdict, late.promise]);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

/** Also a request of another copy of the fetch classes. */
function isRequest(value: unknown): value is Request {
  if (value instanceof Request) return true;
  return typeof value === "object" && value !== null && Object.prototype.toString.call(value) === "[object Request]";
}

function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object of a class";
  return typeof value === "function" ? "a function" : String(value);
}
