import { Logger } from '@nestjs/common';
import { connect } from 'node:net';
import { HttpFront } from './http-front';

describe('the listener in front', () => {
  const front = new HttpFront();
  let port = 0;

  beforeAll(async () => {
    ({ port } = await front.listen(0, '127.0.0.1'));
    front.attach(
      (request, response) => {
        response.end(`url=${request.url ?? ''}`);
      },
      {
        find: ({ url }) =>
          url === '/broken'
            ? () => {
                throw new Error('a fault of ours');
              }
            : undefined,
      },
    );
  });

  afterAll(() => front.drain(0));

  /** The first answer to a request with this target, as text. */
  function answerTo(target: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      });
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
  }

  it.each([
    ['/a?b=c', '/a?b=c'],
    ['http://proxy.example:8080/a?b=http://c/', '/a?b=http://c/'],
    ['http://a:99999999/a', '/a'],
    ['http://example.com', '/'],
  ])('hands %s on as %s', async (target, path) => {
    expect(await answerTo(target)).toMatch(new RegExp(`url=${path.replaceAll('?', '\\?')}$`));
  });

  it('survives a hot route that throws', async () => {
    jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const answer = await answerTo('/broken');
    expect(answer).toMatch(/^HTTP\/1\.1 500 /);
    expect(answer).toContain('"code":"INTERNAL"');
    expect(answer).not.toContain('a fault of ours');
    expect(await answerTo('/next')).toContain('url=/next');
    jest.restoreAllMocks();
  });

  it.each(['http:///a', 'ftp://a/b', 'a/b'])('refuses the target %s', async (target) => {
    const answer = await answerTo(target);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('application/problem+json');
  });
});
