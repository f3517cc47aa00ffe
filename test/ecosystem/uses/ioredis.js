import { once } from "node:events";
import { Redis } from "ioredis";
import { redisUrl } from "./stand-in.js";

export async function use() {
  const [redis, listener] = [new Redis(redisUrl), new Redis(redisUrl)];
  try {
    await redis.set("key", 1);
    const piped = await redis.pipeline().del("n").incr("n").incr("n").exec();
    await listener.subscribe("news");
    const heard = once(listener, "message");
    await redis.publish("news", "message");
    return { value: await redis.get("key"), piped: piped.slice(1).map(([, value]) => value), heard: (await heard)[1] };
  } finally {
    redis.disconnect();
    listener.disconnect();
  }
}
