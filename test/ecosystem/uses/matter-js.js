import Matter from "matter-js";

export function use() {
  const { Bodies, Composite, Engine } = Matter;
  const engine = Engine.create();
  const ball = Bodies.circle(0, 0, 10);
  Composite.add(engine.world, [ball, Bodies.rectangle(0, 500, 500, 10, { isStatic: true })]);
  for (let at = 0; at < 30; at++) Engine.update(engine, 16);
  return { fell: ball.position.y > 1, bodies: Composite.allBodies(engine.world).length };
}
