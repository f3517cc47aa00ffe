// `JSON` that can be ended. V8 looks whether a turn is to be stopped when a JavaScript function is entered, but neither in these two
// nor in a plain loop around them, where up to 500 calls may go by unseen. A function of JavaScript around each is all it takes.

type Reviver = (this: unknown, key: string, value: unknown) => unknown;

/** Once, before the application is loaded. */
export function installStoppableJson(): void {
  const { parse: nativeParse, stringify: nativeStringify } = JSON;
  const functions = {
    parse: (text: string, reviver?: Reviver): unknown => nativeParse(text, reviver),
    // The replacer of the standard is one of two things; the native function tells them apart.
    stringify: (...parameters: Parameters<typeof nativeStringify>): string => nativeStringify(...parameters),
  };
  for (const [name, length] of [
    ["parse", 2],
    ["stringify", 3],
  ] as const) {
    const value = functions[name];
    Object.defineProperty(value, "name", { value: name });
    Object.defineProperty(value, "length", { value: length });
    Object.defineProperty(JSON, name, { value, writable: true, configurable: true, enumerable: false });
  }
}
