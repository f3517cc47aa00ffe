// Sessions of one kind in the order in which they were last active: all have the same `idleMs`, so the head is always due first.
// The list is threaded through the cells themselves: 16 bytes a session, no allocation, and an ended session leaves no trace.

/** What a cell lends to the list. */
export interface IdleNode<Self> {
  idlePrev: Self | undefined;
  idleNext: Self | undefined;
}

export class IdleList<Node extends IdleNode<Node>> {
  #head: Node | undefined;
  #tail: Node | undefined;

  get head(): Node | undefined {
    return this.#head;
  }

  has(node: Node): boolean {
    return node.idlePrev !== undefined || node === this.#head;
  }

  /** Puts the node last, wherever it was. */
  touch(node: Node): void {
    if (node === this.#tail) return;
    this.remove(node);
    node.idlePrev = this.#tail;
    if (this.#tail === undefined) this.#head = node;
    else this.#tail.idleNext = node;
    this.#tail = node;
  }

  /** Nothing when it is not in the list. */
  remove(node: Node): void {
    const { idlePrev, idleNext } = node;
    if (idlePrev !== undefined) idlePrev.idleNext = idleNext;
    else if (this.#head === node) this.#head = idleNext;
    else return;
    if (idleNext !== undefined) idleNext.idlePrev = idlePrev;
    else this.#tail = idlePrev;
    node.idlePrev = undefined;
    node.idleNext = undefined;
  }
}
