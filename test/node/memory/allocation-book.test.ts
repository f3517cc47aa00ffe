// What is booked for whom, by readings that the tests make up.

import { beforeEach, expect, test } from "vitest";
import { AllocationBook, type HeapReading } from "../../../node/memory/allocation-book.ts";

const MIB = 1024 * 1024;

interface Fake {
  readonly name: string;
}

const one: Fake = { name: "one" };
const other: Fake = { name: "other" };
let reading: HeapReading;
let readings: number;
let book: AllocationBook<Fake>;

beforeEach(() => {
  readings = 0;
  reading = { usedBytes: 100 * MIB, allocatedBytes: 500 * MIB, bufferBytes: 10 * MIB };
  book = new AllocationBook<Fake>(() => {
    readings++;
    return reading;
  });
});

function allocates(bytes: number, bufferBytes = 0): void {
  reading = {
    usedBytes: reading.usedBytes + bytes,
    allocatedBytes: reading.allocatedBytes + bytes,
    bufferBytes: reading.bufferBytes + bufferBytes,
  };
}

function collects(bytes: number, bufferBytes = 0): void {
  reading = {
    ...reading,
    usedBytes: reading.usedBytes - bytes,
    bufferBytes: reading.bufferBytes - bufferBytes,
  };
}

test("what is allocated between two borders is booked for who ran", () => {
  book.switchTo(one);
  allocates(1_000);
  book.switchTo(other);
  allocates(20, 5_000);
  book.switchTo(undefined);
  allocates(300);
  expect(book.take()).toEqual(
    new Map([
      [one, { heapBytes: 1_000, bufferBytes: 0 }],
      [other, { heapBytes: 20, bufferBytes: 5_000 }],
      [undefined, { heapBytes: 300, bufferBytes: 0 }],
    ]),
  );
  expect(book.take().size).toBe(0);
});

test("who is entered in the midst of another one is told apart, and the other one goes on", () => {
  expect(book.switchTo(one)).toBeUndefined();
  allocates(1_000);
  const before = book.switchTo(other);
  expect(before).toBe(one);
  allocates(10);
  book.switchTo(before);
  allocates(1_000);
  expect(book.take().get(one)).toEqual({ heapBytes: 2_000, bufferBytes: 0 });
});

test("a turn in which more was collected than made is booked by what V8 counts as allocated", () => {
  book.switchTo(one);
  allocates(40 * MIB);
  collects(60 * MIB);
  book.switchTo(undefined);
  const { heapBytes = 0, bufferBytes } = book.take().get(one) ?? {};
  expect(heapBytes).toBeGreaterThan(39 * MIB);
  expect(heapBytes).toBeLessThanOrEqual(40 * MIB);
  expect(bufferBytes).toBe(0);
});

test("what a reading alone makes V8 count is nobody's", () => {
  for (let look = 0; look < 100; look++) {
    reading = { ...reading, allocatedBytes: reading.allocatedBytes + 300 * 1024 };
    book.switchTo(look % 2 === 0 ? one : other);
  }
  expect(book.take().size).toBe(0);
});

test("nothing is read while the same one runs on", () => {
  book.switchTo(one);
  const before = readings;
  for (let again = 0; again < 10; again++) book.switchTo(one);
  expect(readings).toBe(before);
});

test("leaders are those who allocate most, of objects and buffers together, and never nobody", () => {
  const all = Array.from({ length: 20 }, (_, at) => ({ name: `s${at}` }));
  for (const [at, session] of all.entries()) {
    book.switchTo(session);
    // Not in their order.
    allocates(((at * 7) % 20) * 1_000, at === 3 ? 100_000 : 0);
  }
  book.switchTo(undefined);
  allocates(1e9);
  book.switchTo(one);
  expect(book.leaders(3).map(({ name }) => name)).toEqual(["s3", "s17", "s14"]);
  expect(book.leaders(100)).toHaveLength(19);
});
