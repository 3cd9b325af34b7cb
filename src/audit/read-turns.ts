import { Injectable } from '@nestjs/common';
import { ConnectionTurns } from '../concurrency/connection-turns';
import { FairTurns, type TurnRequest } from '../concurrency/fair-turns';

/** The turns of a read: one to work, and within it one to a connection. Writers share few connections by themselves. */
@Injectable()
export class ReadTurns {
  constructor(
    private readonly turns: FairTurns,
    private readonly connections: ConnectionTurns,
  ) {}

  /** Reads when it is its turn. @throws what FairTurns.run throws. */
  read<T>(request: TurnRequest, work: () => Promise<T>): Promise<T> {
    return this.turns.run(request, () => this.connections.run(request, work));
  }
}
