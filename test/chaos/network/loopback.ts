// Places as addresses of 127.0.0.0/8: processes can be killed and stopped there, but no packet can be dropped.

import type { Network } from "./port.ts";

export function loopback(why: string): Network {
  let places = 0;
  const block = process.pid % 250;
  const refuse = (): never => {
    throw new Error("loopback cannot be cut");
  };
  return {
    kind: "loopback",
    remarks: [`no network namespaces, so nothing is cut, slowed or lost: ${why}`],
    weatherBy: undefined,
    add: (name) => ({ name, address: `127.${block + 2}.0.${++places + 1}`, under: [] }),
    impose: (cuts) => (cuts.length > 0 ? refuse() : undefined),
    cable: refuse,
    weather: refuse,
    close() {},
  };
}
