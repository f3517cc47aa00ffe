// `Error.prepareStackTrace`, one for each session. Libraries that want to know their caller set it for a moment, and one that forgot to put
// it back would decide how the errors of all sessions look, or break them.

/** Once, before the built-in objects are frozen. `running`: an object for whose code runs now; undefined: nobody's, whose choice is all's. */
export function separateStackPreparation(running: () => object | undefined): void {
  const own = new WeakMap<object, unknown>();
  let shared: unknown = Error.prepareStackTrace;
  Object.defineProperty(Error, "prepareStackTrace", {
    get: () => {
      const session = running();
      return session !== undefined && own.has(session) ? own.get(session) : shared;
    },
    set: (prepare: unknown) => {
      const session = running();
      if (session === undefined) shared = prepare;
      else own.set(session, prepare);
    },
    enumerable: false,
    configurable: true,
  });
}
