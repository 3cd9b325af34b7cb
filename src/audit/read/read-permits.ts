import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { Principal } from '../../auth/principal';
import { ConnectionTurns } from '../../concurrency/connection-limiter';
import { FairTurns, type TurnRequest } from '../../concurrency/fair-scheduler';
import { laneOf } from '../../concurrency/flow';
import { serverConfig } from '../../platform/config/server.config';
import { patienceOf } from '../../http/request-signal';

/** The turns of a read: one to work, and within it one to a connection. Writers share few connections by themselves. */
@Injectable()
export class ReadTurns {
  constructor(
    private readonly turns: FairTurns,
    private readonly connections: ConnectionTurns,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Reads for an answer, no longer than somebody waits for it. @throws what FairTurns.run throws. */
  readFor<T>(
    principal: Principal,
    response: ServerResponse,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = patienceOf(response, this.config.requestTimeoutMs);
    return this.read({ lane: laneOf(principal), signal }, () => work(signal));
  }

  /** Refuses at once what could not even wait. @throws what FairTurns.requireRoom throws. */
  requireRoom(lane: string): void {
    this.turns.requireRoom(lane);
  }

  /** Reads when it is its turn. @throws what FairTurns.run throws. */
  read<T>(request: TurnRequest, work: () => Promise<T>): Promise<T> {
    return this.turns.run(request, () => this.connections.run(request, work));
  }
}
