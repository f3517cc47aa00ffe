// Limits on what a client may send before anybody looks at it. Those of bodies and messages belong to each session kind.

export interface GatewayLimits {
  /** From the first byte of a request to the end of its headers. Too small refuses slow phones; too large keeps slow attackers. */
  readonly headersTimeoutMs: number;
  /** An idle connection stays so long. Must be longer than a load balancer in front keeps it (60 s is common), or requests get lost. */
  readonly keepAliveMs: number;
  /** Of all headers of a request together; more answers 431. */
  readonly headerBytesMax: number;
}

export const gatewayLimits: GatewayLimits = {
  headersTimeoutMs: 10_000,
  keepAliveMs: 65_000,
  headerBytesMax: 16 * 1024,
};
