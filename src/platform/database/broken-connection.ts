/** Marks a connection that must not be used again; `cause` is what went wrong first. */
export class BrokenConnection extends Error {
  constructor(override readonly cause: unknown) {
    super('The connection is in an unknown state');
  }
}
