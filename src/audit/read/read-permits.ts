import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { Principal } from '../../auth/principal';
import { ConnectionLimiter } from '../../concurrency/connection-limiter';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import type { PermitRequest } from '../../concurrency/permit-pool';
import { flowKey } from '../../concurrency/flow';
import { serverConfig } from '../../platform/config/server.config';
import { requestSignal } from '../../http/request-signal';

/** The turns of a read: one to work, and within it one to a connection. Writers share few connections by themselves. */
@Injectable()
export class ReadScheduler {
  constructor(
    private readonly scheduler: FairScheduler,
    private readonly connections: ConnectionLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Reads for an answer, no longer than somebody waits for it. @throws what FairScheduler.run throws. */
  readFor<T>(
    principal: Principal,
    response: ServerResponse,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return this.read({ flow: flowKey(principal), signal }, () => work(signal));
  }

  /** Refuses at once what could not even wait. @throws what FairScheduler.assertCapacity throws. */
  assertCapacity(flow: string): void {
    this.scheduler.assertCapacity(flow);
  }

  /** Reads when it is its turn. @throws what FairScheduler.run throws. */
  read<T>(request: PermitRequest, work: () => Promise<T>): Promise<T> {
    return this.scheduler.run(request, () => this.connections.run(request, work));
  }
}
