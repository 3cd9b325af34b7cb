import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Response } from 'express';
import { catchError, type Observable } from 'rxjs';
import { principalOfContext } from '../../auth/principal';
import { BODY_IS_READ, BodyReader } from '../../http/body-reader';
import { AppError } from '../../platform/errors/app-error';
import { CloudEventsReader, type Mode, modeOf } from '../ingest/cloudevents-reader';
import { atPlaces } from '../ingest/sent-events';
import { EVENT_HEADERS, type EventRequest } from './write-headers';

/**
 * Reads JSON bodies of events, and CloudEvents as the native bodies that they stand for: validation, handler and response
 * are the same. Faults of what follows are at their places in what was sent.
 */
@Injectable()
export abstract class EventBodyInterceptor implements NestInterceptor {
  /** Modes that the route takes. */
  protected abstract readonly taken: readonly Mode[];

  constructor(
    protected readonly native: BodyReader,
    protected readonly cloudEvents: CloudEventsReader,
  ) {}

  /** @throws AppError as BodyReader and CloudEventsReader; UNSUPPORTED_MEDIA_TYPE for a mode of the other route. */
  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<EventRequest>();
    const response = http.getResponse<Response>();
    if (request[BODY_IS_READ]) return next.handle();
    const mode = modeOf(request);
    if (mode === undefined || (mode === 'binary' && !this.taken.includes(mode))) {
      request.body = await this.native.readBody(request, response);
      return next.handle();
    }
    if (!this.taken.includes(mode)) throw wrongRoute();
    const principal = principalOfContext(context);
    const { value, placeOf, headers } =
      mode === 'batch'
        ? await this.cloudEvents.readBatch(request, response, principal)
        : await this.cloudEvents.readOne(request, response, principal);
    request.body = value;
    request[EVENT_HEADERS] = headers;
    return next.handle().pipe(
      catchError((error: unknown) => {
        throw atPlaces(error, placeOf);
      }),
    );
  }
}

function wrongRoute(): AppError {
  return new AppError(
    'UNSUPPORTED_MEDIA_TYPE',
    'One CloudEvent is sent to /audit/events, a batch of them to /audit/events/bulk.',
  );
}

@Injectable()
export class SingleEventInterceptor extends EventBodyInterceptor {
  protected readonly taken: readonly Mode[] = ['structured', 'binary'];
}

@Injectable()
export class EventListInterceptor extends EventBodyInterceptor {
  protected readonly taken: readonly Mode[] = ['batch'];
}
