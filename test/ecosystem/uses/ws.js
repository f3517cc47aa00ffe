import { once } from "node:events";
import { WebSocket } from "ws";
import { socketStandIn } from "./stand-in.js";

export async function use() {
  const socket = new WebSocket(socketStandIn);
  await once(socket, "open");
  const heard = once(socket, "message");
  socket.send("hello");
  const [data] = await heard;
  socket.close();
  await once(socket, "close");
  return { echoed: String(data) };
}
