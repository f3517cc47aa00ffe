// The Response of session code. A string or bytes with plain headers, which is nearly every answer, is held as it is and sent
// without ever becoming a native Response; everything else, including every error, is left to the native class. It behaves
// like the native one in all that an application can see.

import type { Body, SessionCall, SessionReply } from "#mesh";
import { alreadyRead, copyBytes, readBytes, readText } from "./body.ts";
import { admit, bareOver, copyHeaders, NativeResponse, onto } from "./native.ts";
import type { HeaderList } from "#proto";

const NO_HEADERS: HeaderList = [];
const JSON_HEADERS: HeaderList = ["content-type", "application/json"];
const TEXT_HEADERS: HeaderList = ["content-type", "text/plain;charset=UTF-8"];

const BareResponse = bareOver(NativeResponse);
const OntoResponse = onto<Response>();

/** Only its private fields are on an instance; its members serve the native prototype (see `admit`). */
export class LightResponse extends OntoResponse {
  #body: string | Uint8Array<ArrayBuffer> | null = null;
  #status = 200;
  #statusText = "";
  #list = NO_HEADERS;
  // True when the body was read without a native Response; a native one made later says so for itself.
  #used = false;
  // From the first look at `headers` on, these are the truth and `#list` is history.
  #headers: Headers | undefined;
  #real: Response | undefined;
  #accepted: SessionCall | undefined;

  /** Makes `bare`, which has the native prototype and nothing else, the response that the native constructor would have made. */
  constructor(bare: Response, body?: BodyInit | null, init?: ResponseInit) {
    super(bare);
    const head = lightHeadOf(init);
    if (head === undefined || !isLightBody(body, head.status)) {
      this.#real = new NativeResponse(body, init);
      return;
    }
    this.#status = head.status;
    this.#statusText = head.statusText;
    if (typeof body === "string") {
      this.#body = body;
      this.#list = withType(head.list, TEXT_HEADERS);
    } else {
      if (body instanceof Uint8Array) this.#body = copyBytes(body);
      this.#list = head.list;
    }
  }

  static json(value: unknown, init?: ResponseInit): Response {
    const head = lightHeadOf(init);
    const text = head === undefined || !isLightBody("", head.status) ? undefined : JSON.stringify(value);
    if (head === undefined || text === undefined) return NativeResponse.json(value, init);
    const response = new LightResponse(new BareResponse());
    response.#body = text;
    response.#status = head.status;
    response.#statusText = head.statusText;
    response.#list = withType(head.list, JSON_HEADERS);
    return response;
  }

  static isLight(this: void, value: unknown): value is LightResponse {
    return typeof value === "object" && value !== null && #used in value;
  }

  static real(this: void, response: Response): Response {
    if (!LightResponse.isLight(response)) return response;
    if (response.#real === undefined) response.#real = response.#materialise();
    else if (response.#headers !== undefined) copyHeaders(response.#headers, response.#real.headers);
    return response.#real;
  }

  /** What of it can be sent without a native Response; undefined when there is one, which then holds the body. */
  static replyOf(response: LightResponse): SessionReply | undefined {
    if (response.#real !== undefined || response.#accepted !== undefined) return undefined;
    if (response.#used) throw alreadyRead();
    return {
      status: response.#status,
      statusText: response.#statusText,
      headers: response.#headers === undefined ? response.#list : flatten(response.#headers),
      body: response.#body,
    };
  }

  /** A Response that takes a reply's parts as they are: no default content type, no copy. */
  static fromReply(
    status: number,
    statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
  ): Response {
    const response = new LightResponse(new BareResponse(), null, { status, statusText });
    response.#body = body === null || typeof body === "string" ? body : copyBytes(body);
    response.#list = headers;
    return response;
  }

  static accepting(call: SessionCall): Response {
    const response = new LightResponse(new BareResponse());
    response.#status = 101;
    response.#accepted = call;
    return response;
  }

  static acceptedCall(response: LightResponse): SessionCall | undefined {
    return response.#accepted;
  }

  override get status(): number {
    return this.#real?.status ?? this.#status;
  }

  override get ok(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  override get statusText(): string {
    return this.#real?.statusText ?? this.#statusText;
  }

  override get headers(): Headers {
    return (this.#headers ??= this.#real?.headers ?? headersFrom(this.#list));
  }

  override get body(): Response["body"] {
    return this.#real === undefined && this.#body === null ? null : LightResponse.real(this).body;
  }

  override get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? this.#used;
  }

  override async text(): Promise<string> {
    if (this.#real !== undefined) return this.#real.text();
    return readText(this.#take());
  }

  override async json(): Promise<unknown> {
    if (this.#real !== undefined) return this.#real.json();
    const text = readText(this.#take());
    return JSON.parse(typeof text === "string" ? text : await text);
  }

  override async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#real !== undefined) return this.#real.bytes();
    return readBytes(this.#take());
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer;
  }

  #take(): Body {
    if (this.#used) throw alreadyRead();
    this.#used = this.#body !== null;
    return this.#body;
  }

  #materialise(): Response {
    if (this.#accepted !== undefined) {
      throw new TypeError("this Response hands a WebSocket to a session: return it as it is");
    }
    const init = { status: this.#status, statusText: this.#statusText, headers: this.headers };
    if (typeof this.#body !== "string") return this.#spend(new NativeResponse(this.#body, init));
    const real = new NativeResponse(this.#body, init);
    // A string body brings its own content type where the headers name none: the user may have deleted it.
    if (!this.headers.has("content-type")) real.headers.delete("content-type");
    return this.#spend(real);
  }

  #spend(real: Response): Response {
    // Marks it as read; what was read once from memory cannot fail now.
    if (this.#used) void real.arrayBuffer();
    return real;
  }
}

admit(NativeResponse.prototype, {
  isLight: LightResponse.isLight,
  members: LightResponse.prototype,
  realOf: LightResponse.real,
});

/**
 * The answer to a WebSocket request that hands the socket to the session of `call`: an opaque Response of status 101. The
 * gateway knows it when the application returns it from its `fetch`.
 */
export function acceptUpgrade(call: SessionCall): Response {
  return LightResponse.accepting(call);
}

/** The call of a Response made by `acceptUpgrade`. */
export function acceptedCallOf(response: unknown): SessionCall | undefined {
  return LightResponse.isLight(response) ? LightResponse.acceptedCall(response) : undefined;
}

/** `[name, value, ...]`, each set-cookie on its own. */
export function flatten(headers: Headers): string[] {
  const list: string[] = [];
  for (const [name, value] of headers) list.push(name, value);
  return list;
}

export function headersFrom(list: HeaderList): Headers {
  const headers = new Headers();
  for (let at = 0; at + 1 < list.length; at += 2) headers.append(list[at] ?? "", list[at + 1] ?? "");
  return headers;
}

const BAD_TEXT = /[^\t\u0020-\u007e\u0080-\u00ff]/;
const BAD_VALUE = /[^\t\u0020-\u007e\u0080-\u00ff]|^[\t ]|[\t ]$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

interface LightHead {
  readonly status: number;
  readonly statusText: string;
  readonly list: HeaderList;
}

const PLAIN_HEAD: LightHead = { status: 200, statusText: "", list: NO_HEADERS };

// Whatever is unusual here is not refused but left to the native class, which refuses or converts it in its own words.
function lightHeadOf(init: ResponseInit | undefined): LightHead | undefined {
  if (init === undefined) return PLAIN_HEAD;
  if (typeof init !== "object" || init === null) return undefined;
  const { status = 200, statusText = "", headers } = init;
  if (!(Number.isInteger(status) && status >= 200 && status <= 599)) return undefined;
  if (typeof statusText !== "string" || BAD_TEXT.test(statusText)) return undefined;
  const list = headerListOf(headers);
  return list === undefined ? undefined : { status, statusText, list };
}

function isLightBody(body: unknown, status: number): body is string | Uint8Array<ArrayBuffer> | null | undefined {
  if (body === null || body === undefined) return true;
  if (status === 204 || status === 205 || status === 304) return false;
  if (typeof body === "string") return true;
  return body instanceof Uint8Array && body.buffer instanceof ArrayBuffer && !body.buffer.resizable;
}

function headerListOf(init: HeadersInit | undefined): HeaderList | undefined {
  if (init === undefined) return NO_HEADERS;
  if (init === null || typeof init !== "object") return undefined;
  if (init instanceof Headers) return Object.getPrototypeOf(init) === Headers.prototype ? flatten(init) : undefined;
  if (Symbol.iterator in init || Object.getOwnPropertySymbols(init).length > 0) return undefined;
  const list: string[] = [];
  for (const [name, value] of Object.entries(init)) {
    if (typeof value !== "string" || BAD_VALUE.test(value) || !TOKEN.test(name)) return undefined;
    list.push(name.toLowerCase(), value);
  }
  return list;
}

function withType(list: HeaderList, type: HeaderList): HeaderList {
  if (list.length === 0) return type;
  for (let at = 0; at < list.length; at += 2) {
    if (list[at] === "content-type") return list;
  }
  return [...list, ...type];
}
