// The best network that this machine allows. CHAOS_NETWORK=loopback asks for the other one.

import { loopback } from "./loopback.ts";
import { openNamespaces, whyNoNamespaces } from "./namespaces.ts";
import type { Network } from "./port.ts";

export function openNetwork(): Network {
  const why = process.env["CHAOS_NETWORK"] === "loopback" ? "CHAOS_NETWORK says so" : whyNoNamespaces();
  if (why !== undefined) return loopback(why);
  try {
    return openNamespaces();
  } catch (error) {
    // A container may be root and still not be allowed to.
    return loopback(error instanceof Error ? error.message.trim().replaceAll(/\s*\n\s*/g, " ") : String(error));
  }
}
