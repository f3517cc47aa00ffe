// Immediates that survive a turn that is ended by force. Node walks its queue of immediates in a local variable: when one of them is
// torn off, those behind it never run, and their count never falls, so that the event loop spins. Each one is therefore booked here
// until it runs, and booked again after such an end.

import { Roster, type Rostered } from "#mesh";

// As they were before `installSessionTimers`.
const { setImmediate, clearImmediate } = { ...process.getBuiltinModule("node:timers") };

type Callback = (...parameters: unknown[]) => unknown;

const bookings = new Roster<Booking>();
/** By the handle that was given out. */
const bookingOf = new WeakMap<NodeJS.Immediate, Booking>();
let booked = 0;

class Booking implements Rostered {
  place = -1;
  /** In the order of booking. */
  readonly number = ++booked;
  readonly callback: () => unknown;
  /** Which immediate will run it: the first one, or the one of the last rebooking. */
  handle: NodeJS.Immediate;

  constructor(callback: () => unknown) {
    this.callback = callback;
    this.handle = setImmediate(runBooking, this);
    bookings.add(this);
  }
}

/** Whose callback runs. */
let running: Booking | undefined;

function runBooking(booking: Booking): void {
  bookings.delete(booking);
  running = booking;
  try {
    booking.callback();
  } finally {
    running = undefined;
  }
}

/**
 * The turn that runs is about to be torn off. When that is an immediate with others before it, Node's list of those that are still to run
 * begins with it then, and Node fails over it for ever, because it counts as done. So it is made one that is still to run, and does nothing.
 */
export function tearImmediate(): void {
  const torn = running?.handle;
  running = undefined;
  if (torn === undefined || Reflect.get(torn, "_idlePrev") === null) return;
  Object.assign(torn, { _destroyed: false, _onImmediate: nothing, _argv: undefined });
  // Node will count it down a second time: one that is counted and never runs makes up for it. Neither end of the list can be reached.
  const [before, counted, behind] = [setImmediate(nothing), setImmediate(nothing), setImmediate(nothing)];
  counted.unref();
  Object.assign(before, { _idleNext: behind });
  Object.assign(behind, { _idlePrev: before });
}

function nothing(): void {}

/** For what is never cleared. */
export function book(callback: () => unknown): void {
  void new Booking(callback);
}

export function setBooked(callback: Callback, parameters: readonly unknown[]): NodeJS.Immediate {
  const booking = new Booking(() => Reflect.apply(callback, given, parameters));
  const given = booking.handle;
  bookingOf.set(given, booking);
  return given;
}

export function clearBooked(given: NodeJS.Immediate | undefined): void {
  if (given === undefined) return;
  const booking = bookingOf.get(given);
  clearImmediate(booking?.handle ?? given);
  if (booking !== undefined) bookings.delete(booking);
}

/** Whatever Node still holds of them is taken back and set again, in the same order. */
export function rebook(): void {
  for (const booking of [...bookings].toSorted((one, other) => one.number - other.number)) {
    const refers = booking.handle.hasRef();
    clearImmediate(booking.handle);
    booking.handle = setImmediate(runBooking, booking);
    if (!refers) booking.handle.unref();
  }
}
