/**
 * Makes objects of a class known to the same class of the other module: the ES module and the CommonJS module of this package have
 * classes of their own, and a program may have both.
 */
export function brand(of: abstract new (...given: never[]) => object, name: string): void {
  const mark = Symbol.for(`rowgate.${name}`);
  Object.defineProperty(of.prototype, mark, { value: true });
  Object.defineProperty(of, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      // A class of the program's that extends it has objects of its own alone.
      if (this !== of) return Function.prototype[Symbol.hasInstance].call(this, value);
      return typeof value === 'object' && value !== null && mark in value;
    },
  });
}
