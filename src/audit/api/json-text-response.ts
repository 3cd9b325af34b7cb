import type { JsonResponse } from '../../http/http-server.adapter';

/** A body with ready JSON text. `value` is the same for protocols with their own representation. */
export class JsonTextResponse implements JsonResponse {
  constructor(
    private readonly text: string,
    readonly value?: object,
  ) {}

  toJsonText(): string {
    return this.text;
  }
}
