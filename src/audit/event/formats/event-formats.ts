import { CEF } from './cef';
import { CLOUDEVENTS } from './cloudevents';
import { ECS } from './ecs';
import type { EventFormat } from './event-format';
import { OCSF } from './ocsf';

/** The event as the API has it. */
const NATIVE: EventFormat = { isJson: true, write: (eventText) => eventText };

/** A format is one file in this folder and its line here (docs/adr/0055). */
const EVENT_FORMATS = {
  native: NATIVE,
  cloudevents: CLOUDEVENTS,
  ocsf: OCSF,
  ecs: ECS,
  cef: CEF,
} satisfies Record<string, EventFormat>;

export type EventFormatName = keyof typeof EVENT_FORMATS;

/** Formats whose events can be values of a JSON document. */
export const JSON_FORMATS = (Object.keys(EVENT_FORMATS) as EventFormatName[]).filter(
  (name) => EVENT_FORMATS[name].isJson,
);

export function eventFormat(name: EventFormatName): EventFormat {
  return EVENT_FORMATS[name];
}
