// For `node --import`: the date of this process jumps by up to half a day, forwards and backwards, ten times a second, as a broken clock or a bad
// time server makes it. Timers and the monotonic clock go on as they do on such a machine.

const JUMP_MAX_MS = 12 * 3_600_000;
const EVERY_MS = 100;

const realNow = Date.now.bind(Date);
let aheadMs = 0;
const jump = (): void => {
  aheadMs = (Math.random() * 2 - 1) * JUMP_MAX_MS;
};
const now = (): number => Math.floor(realNow() + aheadMs);

jump();
setInterval(jump, EVERY_MS).unref();
Object.defineProperty(Date, "now", { value: now });
globalThis.Date = new Proxy(Date, {
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
});
