import { requestOf } from './test-service';

export const TICKETS = '/api/v1/auth/tickets';

/** A ticket for this token, of the service at `url`. */
export async function ticketFor(url: string, token: string): Promise<string> {
  const { status, text, json } = await requestOf(url, 'POST', TICKETS, { token });
  if (status !== 201) throw new Error(`No ticket: ${text}`);
  return json.ticket as string;
}
