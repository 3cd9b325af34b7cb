import type { NumberBudget } from '../../../platform/runtime/lossless-json';

/** A form in which other systems take events, and may send them: pure functions of the JSON text of one event. */
export interface EventFormat {
  /**
   * The event in this form, on one line without its end.
   * @throws SyntaxError for text that is no JSON.
   */
  write: (eventText: string) => string;
  /** False for lines of text, which cannot be elements of an array. */
  isJson: boolean;
  /** Media type of an array of them, where it is not that of JSON. */
  arrayMediaType?: string;
  /**
   * An event that is sent in this form: of one that `write` has made the event that it was made of, else a mapping.
   * @throws SyntaxError for text that is no JSON, UnacceptableJsonError; AppError VALIDATION_FAILED with each fault and its
   * place.
   */
  read?: (text: string, budget?: NumberBudget) => SentEvent;
}

/** An event of another system in the form of the API. */
export interface SentEvent {
  /** JSON text of an event to record, without `organizationId` where its sender names none. */
  text: string;
  namesOrganization: boolean;
  /** The place in what was sent for a path of the event: `action` is `type` of a CloudEvent. */
  placeOf: (path: string) => string;
}

export interface EventTarget {
  type?: string | null;
  id?: string | null;
  name?: string | null;
}

/**
 * The members of a recorded event that a format maps. `metadata` and `changes` are left out: their numbers lose digits in
 * `JSON.parse`, so formats carry them only within the text of the whole event.
 */
export interface EventContent {
  id: string;
  timestamp: string;
  recordedAt: string;
  /** Decimal digits. */
  sequence: string;
  organizationId: string;
  principalId: string | null;
  action: string;
  targetResourceType: string | null;
  targetResourceId: string | null;
  status: 'attempt' | 'success' | 'failure';
  outcomeDescription: string | null;
  dataClassification: string;
  correlationId: string | null;
  sessionContext: {
    sessionId?: string | null;
    ipAddress?: string | null;
    userAgent?: string | null;
    geolocation?: string | null;
  } | null;
  principalType?: string;
  principalName?: string;
  targets?: EventTarget[];
  source?: { service?: string | null; host?: string | null; version?: string | null };
  schemaVersion?: string;
}

export function contentOf(eventText: string): EventContent {
  return JSON.parse(eventText) as EventContent;
}

/** The targets, of which the target resource is the first. */
export function targetsOf(event: EventContent): EventTarget[] {
  if (event.targets) return event.targets;
  const { targetResourceType: type, targetResourceId: id } = event;
  return type === null && id === null ? [] : [{ type, id }];
}

/** The members that say something: no null, no empty text; undefined without any. */
export function present<T extends object>(members: T): Partial<T> | undefined {
  const found = Object.entries(members).filter(
    ([, value]) => value !== undefined && value !== null && value !== '',
  );
  return found.length === 0 ? undefined : (Object.fromEntries(found) as Partial<T>);
}
