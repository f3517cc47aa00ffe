import { Decoder, Encoder, schema, t } from "@colyseus/schema";

const Player = schema({ x: t.number(), y: t.number() }, "Player");
const State = schema({ players: t.map(Player) }, "State");

export function use() {
  const state = new State();
  const encoder = new Encoder(state);
  const player = new Player();
  player.x = 1;
  state.players.set("p1", player);
  const decoder = new Decoder(new State());
  decoder.decode(encoder.encodeAll());
  encoder.discardChanges();
  player.y = 2;
  decoder.decode(encoder.encode());
  return decoder.state.players.toJSON();
}
