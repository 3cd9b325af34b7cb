// Requests to the service, over kept connections.
import { Pool } from 'undici';

/** A request without an answer: the connection failed, or the time is over. */
export class NoAnswer extends Error {}

/** Sends requests with the token, over as many connections as are needed. */
export class Client {
  #pool;
  #prefix;
  #authorization;

  constructor({ url, token, timeoutMs }) {
    const { origin, pathname } = new URL(url);
    this.#prefix = pathname === '/' ? '' : pathname;
    this.#authorization = `Bearer ${token}`;
    this.#pool = new Pool(origin, {
      connections: null,
      pipelining: 1,
      connect: { timeout: Math.min(timeoutMs, 10_000) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
  }

  /** The complete answer: `{ status, headers, trailers, text, bytes }`, with `bytes` the length of the body. @throws NoAnswer */
  async send({ method, path, headers, body }) {
    try {
      const response = await this.#pool.request({
        method,
        path: this.#prefix + path,
        headers: { ...headers, authorization: this.#authorization },
        body,
      });
      const data = Buffer.from(await response.body.arrayBuffer());
      return {
        status: response.statusCode,
        headers: response.headers,
        trailers: response.trailers,
        text: data.toString(),
        bytes: data.length,
      };
    } catch (error) {
      // Neither the message nor the cause has headers of the request.
      throw new NoAnswer(`${error.code ?? error.name}: ${error.message}`, { cause: error });
    }
  }

  close() {
    return this.#pool.destroy();
  }
}
