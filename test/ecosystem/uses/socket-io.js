import { io } from "socket.io-client";
import { standIn } from "./stand-in.js";

export async function use() {
  const socket = io(standIn, { forceNew: true, reconnection: false });
  try {
    return { answered: await socket.timeout(5_000).emitWithAck("hello", "me") };
  } finally {
    socket.disconnect();
  }
}
