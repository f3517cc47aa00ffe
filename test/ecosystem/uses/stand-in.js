// Where run.ts serves what stands in for the outside.

const url = (name) => process.env[`MESH_ECOSYSTEM_${name}`];

/** HTTP: `/echo` sends back what it gets, `/v1` is a model that streams. Also Socket.IO. */
export const standIn = url("HTTP");
/** A WebSocket that sends back what it gets. */
export const socketStandIn = url("WS");
export const redisUrl = url("REDIS");
export const postgresUrl = url("POSTGRES");
