// Immediates that survive a turn that is ended by force. Node walks its queue of immediates in a local variable: when one of them is
// torn off, those behind it never run, and their count never falls, so that the event loop spins. Each one is therefore booked here
// until it runs, and booked again after such an end.

// As they were before `installSessionTimers`.
const { setImmediate, clearImmediate } = { ...process.getBuiltinModule("node:timers") };

type Callback = (...parameters: unknown[]) => unknown;

interface Booking {
  readonly run: () => void;
  /** Which immediate will run it: the one given out, or the one of the last rebooking. */
  handle: NodeJS.Immediate;
}

/** By the handle that was given out, in their order. */
const bookings = new Map<NodeJS.Immediate, Booking>();

export function setBooked(callback: Callback, parameters: readonly unknown[]): NodeJS.Immediate {
  const run = (): void => {
    bookings.delete(given);
    Reflect.apply(callback, given, parameters);
  };
  const given = setImmediate(run);
  bookings.set(given, { run, handle: given });
  return given;
}

export function clearBooked(given: NodeJS.Immediate | undefined): void {
  if (given === undefined) return;
  const booking = bookings.get(given);
  clearImmediate(booking?.handle ?? given);
  bookings.delete(given);
}

/** Whatever Node still holds of them is taken back and set again, in the same order. */
export function rebook(): void {
  for (const booking of bookings.values()) {
    const refers = booking.handle.hasRef();
    clearImmediate(booking.handle);
    booking.handle = setImmediate(booking.run);
    if (!refers) booking.handle.unref();
  }
}
