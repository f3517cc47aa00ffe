// The one error of the mesh. A MeshError carries a code from a closed set; what a client sees (HTTP status, gRPC status,
// whether to try again) follows from the code alone. Messages are for people: compare codes, never messages.

interface ErrorKind {
  /** HTTP status that a gateway answers with. */
  readonly http: number;
  /** gRPC status code number (google.rpc.Code). */
  readonly grpc: number;
  /** True when the same request may succeed later without any change to it. */
  readonly retryable: boolean;
  /** One sentence for `title` of problem+json and for docs/errors.md. */
  readonly title: string;
}

const kinds = {
  bad_request: { http: 400, grpc: 3, retryable: false, title: "The request is malformed" },
  bad_name: { http: 400, grpc: 3, retryable: false, title: "The session kind or name is not valid" },
  unauthorized: { http: 401, grpc: 16, retryable: false, title: "The request does not say who makes it" },
  forbidden: { http: 403, grpc: 7, retryable: false, title: "The request is not allowed" },
  not_found: { http: 404, grpc: 5, retryable: false, title: "Nothing is served at this path" },
  unknown_kind: { http: 404, grpc: 5, retryable: false, title: "The application has no such session kind" },
  not_active: { http: 404, grpc: 5, retryable: false, title: "The session is not active" },
  method_not_allowed: { http: 405, grpc: 12, retryable: false, title: "The method is not allowed here" },
  body_too_large: { http: 413, grpc: 8, retryable: false, title: "The request body is too large" },
  too_many_requests: { http: 429, grpc: 8, retryable: true, title: "Too many requests" },
  bad_upgrade: { http: 426, grpc: 9, retryable: false, title: "A WebSocket handshake was expected" },
  handler_failed: { http: 500, grpc: 13, retryable: false, title: "The code that handles the request failed" },
  session_crashed: { http: 500, grpc: 13, retryable: false, title: "The session crashed" },
  session_killed: { http: 500, grpc: 13, retryable: false, title: "The session was killed" },
  internal: { http: 500, grpc: 13, retryable: false, title: "The mesh failed" },
  session_lost: {
    http: 502,
    grpc: 14,
    retryable: false,
    title: "The session's host was lost while it worked on the request",
  },
  session_stopped: { http: 503, grpc: 14, retryable: true, title: "The session stopped before it answered" },
  moved: { http: 503, grpc: 14, retryable: true, title: "The session lives on another worker" },
  no_host: { http: 503, grpc: 14, retryable: true, title: "No worker can host the session now" },
  overloaded: { http: 503, grpc: 8, retryable: true, title: "A limit was reached; try again later" },
  suspended: { http: 503, grpc: 14, retryable: true, title: "The node has lost contact with the registry" },
  registry_unavailable: { http: 503, grpc: 14, retryable: true, title: "The registry (NATS) does not answer" },
  timeout: { http: 504, grpc: 4, retryable: false, title: "The session did not answer in time" },
  cancelled: { http: 499, grpc: 1, retryable: false, title: "The client went away" },
  bad_frame: { http: 502, grpc: 13, retryable: false, title: "A peer sent bytes that are not of the protocol" },
  bad_config: { http: 500, grpc: 3, retryable: false, title: "The configuration is not valid" },
  bad_app: { http: 500, grpc: 3, retryable: false, title: "The application module cannot be used" },
} as const satisfies Record<string, ErrorKind>;

/** The closed set of codes; docs/errors.md explains each. */
export type ErrorCode = keyof typeof kinds;

/** Every code with its HTTP status, gRPC status, retryability and title. */
export const errorKinds: Readonly<Record<ErrorCode, ErrorKind>> = kinds;

export interface ErrorContext {
  readonly cause?: unknown;
  /** The session concerned, as `kind/name`. */
  readonly session?: string;
  /** The node concerned. */
  readonly node?: string;
  /** When to try again at the earliest, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** Every failure of the mesh. Compare `code`, never messages. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  /** What happened, from the closed set. */
  readonly code: ErrorCode;
  readonly session: string | undefined;
  readonly node: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.code = code;
    this.session = context.session;
    this.node = context.node;
    this.retryAfterMs = context.retryAfterMs;
  }

  get status(): number {
    return errorKinds[this.code].http;
  }

  get retryable(): boolean {
    return errorKinds[this.code].retryable;
  }

  /** Any thrown value as a MeshError: itself, or wrapped as `code` with the value as its cause. Never throws. */
  static from(thrown: unknown, code: ErrorCode = "internal", context: ErrorContext = {}): MeshError {
    return isMeshError(thrown) ? thrown : new MeshError(code, messageOf(thrown), { ...context, cause: thrown });
  }
}

/** A proxy can throw from `instanceof`; whatever does is not ours. */
function isMeshError(thrown: unknown): thrown is MeshError {
  try {
    return thrown instanceof MeshError;
  } catch {
    return false;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(kinds, value);
}

/** RFC 9457 problem details of an error, as sent to HTTP clients with `application/problem+json`. */
export function problemOf(error: MeshError): Record<string, unknown> {
  const kind = errorKinds[error.code];
  return {
    type: `urn:sessionmesh:error:${error.code}`,
    title: kind.title,
    status: kind.http,
    detail: error.message,
    code: error.code,
    retryable: kind.retryable,
    ...(error.session === undefined ? {} : { session: error.session }),
    ...(error.node === undefined ? {} : { node: error.node }),
  };
}

/** A session can throw a string of any size; its message goes into frames, logs and responses. In UTF-16 units. */
const MESSAGE_LENGTH_MAX = 2_000;

/** The message of any thrown value, cut when it is very long; a value whose getters throw costs us the message, not the process. */
export function messageOf(thrown: unknown): string {
  try {
    const message = thrown instanceof Error ? String(thrown.message) : String(thrown);
    return message.length > MESSAGE_LENGTH_MAX ? `${message.slice(0, MESSAGE_LENGTH_MAX)}...` : message;
  } catch {
    return "a value that cannot be printed was thrown";
  }
}
