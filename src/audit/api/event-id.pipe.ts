import { Injectable, type PipeTransform } from '@nestjs/common';
import { validationFailed } from '../../platform/errors/app-error';
import { uuid } from '../../validation/constraints';

/** Refuses an event id in the path that is not a UUID. */
@Injectable()
export class EventIdPipe implements PipeTransform<string, string> {
  transform(id: string): string {
    const fault = uuid(id);
    if (typeof fault === 'string') throw validationFailed([{ path: 'id', message: fault }]);
    return id;
  }
}
