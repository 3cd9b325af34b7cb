import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { Principal } from '../../auth/principal';
import { ConnectionLimiter } from '../../concurrency/connection-limiter';
import { FairScheduler, flowKey } from '../../concurrency/fair-scheduler';
import type { PermitRequest } from '../../concurrency/permit-pool';
import { requestSignal } from '../../http/request-context';
import { serverConfig } from '../../platform/config/settings';

/** Permits of reads: one to work, and within it one for a connection. Writers limit their connections themselves. */
@Injectable()
export class ReadScheduler {
  constructor(
    private readonly scheduler: FairScheduler,
    private readonly connections: ConnectionLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Reads for a response, until that closes or its time is over. @throws what FairScheduler.run throws. */
  readFor<T>(
    principal: Principal,
    response: ServerResponse,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return this.read({ flow: flowKey(principal), signal }, () => work(signal));
  }

  /** @throws what FairScheduler.assertCapacity throws. */
  assertCapacity(flow: string): void {
    this.scheduler.assertCapacity(flow);
  }

  /** @throws what FairScheduler.run throws. */
  read<T>(request: PermitRequest, work: () => Promise<T>): Promise<T> {
    return this.scheduler.run(request, () => this.connections.run(request, work));
  }
}
