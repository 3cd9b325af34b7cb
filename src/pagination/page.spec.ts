import { linksOf } from './page';

const page = { limit: 50, hasNext: false, hasPrevious: false };
const URL_OF_LIST = '/api/v1/audit/events?actions=a%2Cb&limit=50';

describe('the links of a page', () => {
  it('lead to the first page, with the same filter', () => {
    expect(linksOf(`${URL_OF_LIST}&cursor=abc&include_total=true`, page)).toEqual([
      '</api/v1/audit/events?actions=a%2Cb&limit=50>; rel="first"',
    ]);
  });

  it('lead on and back by cursor', () => {
    const links = linksOf(`${URL_OF_LIST}&offset=100`, {
      ...page,
      hasNext: true,
      hasPrevious: true,
      nextCursor: 'n-1',
      previousCursor: 'p_1',
    });
    expect(links.slice(1)).toEqual([
      '</api/v1/audit/events?actions=a%2Cb&limit=50&cursor=p_1>; rel="prev"',
      '</api/v1/audit/events?actions=a%2Cb&limit=50&cursor=n-1>; rel="next"',
    ]);
  });

  it('cannot be broken out of by what a client sends', () => {
    const [first] = linksOf('/api/v1/audit/events?actions=>; rel="evil", <http://evil/', page);
    expect(first?.match(/[<>]/g)).toEqual(['<', '>']);
    expect(first).not.toContain('"evil"');
  });
});
