import "reflect-metadata";
import { container, injectable } from "tsyringe";

class Engine {
  name = "V8";
}
class Car {
  constructor(engine) {
    this.engine = engine;
  }
  power() {
    return this.engine.name;
  }
}

/** As TypeScript compiles decorators with emitDecoratorMetadata. */
export function use() {
  Reflect.defineMetadata("design:paramtypes", [], Engine);
  Reflect.defineMetadata("design:paramtypes", [Engine], Car);
  Reflect.defineMetadata("design:type", String, Car.prototype, "name");
  for (const made of [Engine, Car]) injectable()(made);
  const type = Reflect.getMetadata("design:type", Car.prototype, "name");
  return { engine: container.resolve(Car).power(), type: type.name };
}
