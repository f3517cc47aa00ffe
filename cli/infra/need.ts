// The two outside servers that a mesh can use, as data: what each is called where, how it is started and how its output says
// that it is ready. Everything that finds or starts one takes such a record and knows neither of them by name.

export interface InfraNeed {
  readonly name: "NATS" | "Redis";
  /** The variable that names a running server and wins over everything else. */
  readonly variable: "NATS_URL" | "REDIS_URL";
  readonly scheme: "nats" | "redis";
  readonly defaultPort: number;
  readonly binary: string;
  /** True when the server picks a free port itself for port 0, and says which: nobody can take it in between. */
  readonly picksPort: boolean;
  /** The server's arguments, on loopback. */
  args(port: number, storeDir: string): string[];
  /** Found in its output once it takes connections. */
  readonly readyPattern: RegExp;
  /** Its first group is the port that the server picked. */
  readonly portPattern: RegExp;
  readonly aptPackage: string;
  readonly image: string;
  readonly imageCommand: readonly string[];
  /** What its loss costs a mesh, in one sentence. */
  readonly lossMeans: string;
  /** How to get it, in one sentence. */
  readonly install: string;
}

export const natsNeed: InfraNeed = {
  name: "NATS",
  variable: "NATS_URL",
  scheme: "nats",
  defaultPort: 4222,
  binary: "nats-server",
  picksPort: true,
  args: (port, storeDir) => ["-a", "127.0.0.1", "-p", port === 0 ? "-1" : String(port), "-js", "-sd", storeDir],
  readyPattern: /Server is ready/,
  portPattern: /Listening for client connections on \S*:(\d+)/,
  aptPackage: "nats-server",
  image: "nats:2.12-alpine",
  imageCommand: ["-js", "-sd", "/data"],
  lossMeans: "Sessions go on; no node can join or leave until it is back",
  install:
    "Install nats-server (Debian: apt-get install nats-server; macOS: brew install nats-server; others: https://nats.io/download), " +
    "or set NATS_URL to a running server with JetStream",
};

export const redisNeed: InfraNeed = {
  name: "Redis",
  variable: "REDIS_URL",
  scheme: "redis",
  defaultPort: 6379,
  binary: "redis-server",
  picksPort: false,
  // An append-only file and no snapshots: a kept folder brings every acknowledged write back, and no fork stalls a small machine.
  args: (port, storeDir) =>
    `--port ${port} --bind 127.0.0.1 --appendonly yes --appendfsync everysec`
      .split(" ")
      .concat("--save", "", "--dir", storeDir),
  readyPattern: /Ready to accept connections/,
  portPattern: /port=(\d+)/,
  aptPackage: "redis-server",
  image: "redis:8-alpine",
  // Its port is published to this machine, which some builds would take for a stranger.
  imageCommand: ["redis-server", "--save", "", "--appendonly", "yes", "--protected-mode", "no"],
  lossMeans: "Writes to storage fail until it is back; sessions without storage go on",
  install:
    "Install redis-server (Debian: apt-get install redis-server; macOS: brew install redis; others: https://redis.io/downloads), " +
    "or set REDIS_URL to a running server",
};
