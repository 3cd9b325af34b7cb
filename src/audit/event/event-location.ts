export const EVENTS_PATH = '/api/v1/audit/events';

/** The URL of an event. */
export function eventLocation(id: string): string {
  return `${EVENTS_PATH}/${id}`;
}

/** The id in the URL of an event. */
export function idOfLocation(location: string): string {
  return location.slice(EVENTS_PATH.length + 1);
}
