// The Request that session code gets. It holds the call as it arrived and makes headers, the abort signal and, in the last
// resort, the native Request only when they are asked for. Relies on `call.url` being an absolute, canonical URL.

import { alreadyRead, copyBytes, limitBody, readBytes, readText } from "./body.ts";
import { isHopByHop } from "./hop-by-hop.ts";
import { admit, bareOver, copyHeaders, NativeRequest, NativeResponse, onto } from "./native.ts";
import type { SessionCall } from "#mesh";
import { MeshError } from "#proto";

/** What a Request is made of; a SessionCall has it all. */
export type RequestParts = Pick<SessionCall, "method" | "url" | "headers" | "body">;

export interface RequestOptions {
  /** Reading more than this fails with `body_too_large`. Infinity: no limit, the default. */
  readonly bodyBytesMax?: number;
}

/** `signal` is called at most once, when the application first looks at `request.signal`. */
export function requestOf(parts: RequestParts, signal: () => AbortSignal, options?: RequestOptions): Request {
  return new LazyRequest(new BareRequest(), parts, signal, options?.bodyBytesMax ?? Infinity);
}

/** The native Request behind a lazy one; anything else as it is. */
export function unwrapRequest(input: unknown): unknown {
  return LazyRequest.isLazy(input) ? LazyRequest.real(input) : input;
}

const BareRequest = bareOver(NativeRequest);
const OntoRequest = onto<Request>();

class LazyRequest extends OntoRequest {
  readonly #parts: RequestParts;
  readonly #signalOf: () => AbortSignal;
  readonly #bodyBytesMax: number;
  // True when the body was read without a native Request; a native one made later says so for itself.
  #used = false;
  #headers: Headers | undefined;
  #signal: AbortSignal | undefined;
  #real: Request | undefined;

  constructor(bare: Request, parts: RequestParts, signalOf: () => AbortSignal, bodyBytesMax: number) {
    super(bare);
    this.#parts = parts;
    this.#signalOf = signalOf;
    this.#bodyBytesMax = bodyBytesMax;
  }

  static isLazy(this: void, value: unknown): value is LazyRequest {
    return typeof value === "object" && value !== null && #parts in value;
  }

  static real(this: void, lazy: Request): Request {
    if (!LazyRequest.isLazy(lazy)) return lazy;
    if (lazy.#real === undefined) lazy.#real = lazy.#materialise();
    else if (lazy.#headers !== undefined) copyHeaders(lazy.#headers, lazy.#real.headers);
    return lazy.#real;
  }

  override get method(): string {
    return this.#parts.method;
  }

  override get url(): string {
    return this.#parts.url;
  }

  override get headers(): Headers {
    return (this.#headers ??= this.#real?.headers ?? headersFrom(this.#parts.headers));
  }

  override get signal(): AbortSignal {
    return (this.#signal ??= this.#signalOf());
  }

  override get body(): Request["body"] {
    // Asking whether there is a body must not build one.
    return this.#hasBody() ? LazyRequest.real(this).body : null;
  }

  override get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? this.#used;
  }

  override async text(): Promise<string> {
    if (this.#real !== undefined) return this.#real.text();
    return readText(this.#take());
  }

  override async json(): Promise<unknown> {
    const text = await this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw blameRequest(error, "the request body is not JSON");
    }
  }

  override async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#real !== undefined) return this.#real.bytes();
    return readBytes(this.#take());
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer;
  }

  override async blob(): Promise<Blob> {
    return (await this.#whole()).blob();
  }

  override async formData(): Promise<FormData> {
    const whole = await this.#whole();
    try {
      return await whole.formData();
    } catch (error) {
      throw blameRequest(error, "the request body is not a form");
    }
  }

  // Read whole first: the parsers of forms and blobs need it all anyway, and errors of the body reach the caller as they are.
  async #whole(): Promise<Response> {
    const type = this.headers.get("content-type");
    return new NativeResponse(await this.bytes(), { headers: type === null ? {} : { "content-type": type } });
  }

  // The fetch standard knows no body of GET and HEAD, and a native Request refuses one.
  #hasBody(): boolean {
    return this.#parts.body !== null && this.#parts.method !== "GET" && this.#parts.method !== "HEAD";
  }

  #take(): Uint8Array | ReadableStream<Uint8Array> | null {
    if (!this.#hasBody()) return null;
    if (this.#used) throw alreadyRead();
    this.#used = true;
    return limitBody(this.#parts.body, this.#bodyBytesMax);
  }

  #materialise(): Request {
    const head = { method: this.#parts.method, headers: this.headers, signal: this.signal, duplex: "half" };
    if (!this.#hasBody()) return new NativeRequest(this.#parts.url, head);
    if (this.#used) {
      const spent = new NativeRequest(this.#parts.url, { ...head, body: "" });
      // Marks it as read; reading an empty string cannot fail.
      void spent.arrayBuffer();
      return spent;
    }
    const body = limitBody(this.#parts.body, this.#bodyBytesMax);
    const init = body instanceof Uint8Array ? copyBytes(body) : body;
    return new NativeRequest(this.#parts.url, { ...head, body: init });
  }
}

admit(NativeRequest.prototype, {
  isLight: LazyRequest.isLazy,
  members: LazyRequest.prototype,
  realOf: LazyRequest.real,
});

/**
 * The standard's error, with a cause that tells whose fault it is: a handler that lets it escape answers 400, and a malformed body
 * does not crash the session.
 */
function blameRequest(error: unknown, message: string): unknown {
  if (error instanceof Error) error.cause ??= new MeshError("bad_request", message);
  return error;
}

function headersFrom(list: SessionCall["headers"]): Headers {
  const headers = new Headers();
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = (list[at] ?? "").toLowerCase();
    const value = list[at + 1] ?? "";
    if (isHopByHop(name) && !(name === "upgrade" && value.toLowerCase() === "websocket")) continue;
    headers.append(name, value);
  }
  return headers;
}
