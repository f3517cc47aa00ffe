// What the hook `onError` is told of where an error came from.

/** Where an error came from that `onError` is told of. */
export interface ErrorOrigin {
  /**
   * The hook that the error escaped from; of `fetch` also when the body of its answer failed later. `limit`: no hook, the socket broke a
   * limit of its class, or could not be sent what it was to be sent.
   */
  readonly hook: "fetch" | "onConnect" | "onMessage" | "onClose" | "limit";
  /** Of the request, or of the handshake. */
  readonly method: string;
  readonly url: string;
}

/** All hooks whose errors belong to one event. */
export type EventHook = Exclude<ErrorOrigin["hook"], "limit"> | "onError";
