import { hasTicket, takeTicket, ticketOf } from './ticket-access';

describe('the ticket of a request', () => {
  it.each([
    ['/tail?ticket=abc', '/tail', 'abc'],
    ['/tail?ticket=', '/tail', ''],
    ['/tail?a=b&ticket=abc&c=d%20e', '/tail?a=b&c=d%20e', 'abc'],
    ['http://host/tail?ticket=abc&a=', 'http://host/tail?a=', 'abc'],
  ])('is taken out of %s', (url, rest, ticket) => {
    const request = { url };
    takeTicket(request);
    expect([request.url, ticketOf(request)]).toEqual([rest, ticket]);
  });

  it.each([
    '/tail',
    '/ticket=abc',
    '/tail?tickets=a&my-ticket=b',
    '/tail?a=ticket=abc',
    '/tail?ticket',
  ])('is not in %s', (url) => {
    const request = { url };
    takeTicket(request);
    expect([request.url, hasTicket(request)]).toEqual([url, false]);
  });

  it('is refused when it is given twice, and taken out all the same', () => {
    const request = { url: '/tail?ticket=a&ticket=a' };
    takeTicket(request);
    expect(request.url).toBe('/tail');
    expect(() => ticketOf(request)).toThrow('ticket must be given once');
  });
});
