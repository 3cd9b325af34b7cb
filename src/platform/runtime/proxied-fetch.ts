import type { EnvHttpProxyAgent } from 'undici';

/** URLs of proxies, and the hosts that are asked directly, in the format of `NO_PROXY`. */
export interface Proxies {
  httpsProxy?: string;
  httpProxy?: string;
  noProxy?: string;
}

/**
 * `fetch` through the proxies. Node's own, which reads no settings of proxies before version 24, when there are none;
 * undici's, loaded at the first request, otherwise.
 */
export function proxiedFetch({ httpsProxy, httpProxy, noProxy = '' }: Proxies = {}): typeof fetch {
  if (httpsProxy === undefined && httpProxy === undefined) return fetch;
  let agent: EnvHttpProxyAgent | undefined;
  const viaProxy = async (input: string | URL, init?: object): Promise<unknown> => {
    const undici = await import('undici');
    // Empty text, unlike undefined, keeps the environment unread.
    const proxies = { httpsProxy: httpsProxy ?? '', httpProxy: httpProxy ?? '', noProxy };
    agent ??= new undici.EnvHttpProxyAgent(proxies);
    return undici.fetch(input, { ...init, dispatcher: agent });
  };
  return viaProxy as typeof fetch;
}
