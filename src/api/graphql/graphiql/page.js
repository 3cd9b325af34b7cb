'use strict';
// Runs in the browser: GraphiQL on the endpoint whose page this is, with the token of its Headers editor, or a development token.
{
  const NO_TOKEN =
    'Put a token into Headers, below: { "Authorization": "Bearer …" }. `npm run -s token` prints one.';
  const WHOLE_TOKEN = /^Bearer +[\w-]+\.[\w-]+\.[\w-]+$/i;
  /** After the last change of the Headers editor. */
  const SETTLE_MS = 300;
  /** One operation each, which the first click runs. */
  const DOCUMENTS = [
    `# The newest events that your token lets you see.
query Newest {
  optimizedAuditEvents(pagination: { limit: 5 }) {
    edges {
      node {
        sequence
        timestamp
        organizationId
        action
        status
        metadata
      }
    }
    totalCount
  }
}
`,
    `# The next ones, as they are recorded.
subscription Recorded {
  auditEventRecorded {
    sequence
    organizationId
    action
  }
}
`,
  ];

  const endpoint = new URL(location.pathname, location.href);
  const socketUrl = new URL(endpoint);
  socketUrl.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

  const authorizationIn = (headers) =>
    Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === 'authorization')?.[1];
  const withoutAuthorization = (headers) =>
    Object.fromEntries(
      Object.entries(headers ?? {}).filter(([name]) => name.toLowerCase() !== 'authorization'),
    );
  const isEmpty = (authorization = '') => /^\s*(?:Bearer\s*)?$/i.test(String(authorization));
  const isWhole = (authorization) => WHOLE_TOKEN.test(String(authorization ?? '').trim());

  /** Shows numbers as they were sent, where the browser can: a double has fewer digits than an event may. */
  function exactNumber(_name, value, context) {
    const isChanged = typeof value === 'number' && context && String(value) !== context.source;
    return isChanged && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  }

  async function ask(operation, headers) {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        accept: 'application/graphql-response+json, application/json',
        'content-type': 'application/json',
        ...headers,
      },
      body: JSON.stringify(operation),
    });
    return JSON.parse(await response.text(), exactNumber);
  }

  /** A socket for each subscription, so that each has the token that the editor held when it began. */
  function follow(operation, authorization) {
    const client = graphqlWs.createClient({
      url: socketUrl.href,
      connectionParams: { authorization },
      jsonMessageReviver: exactNumber,
      retryAttempts: 0,
    });
    return {
      subscribe({ next, error, complete }) {
        const fail = (reason) =>
          error('code' in reason ? new Error(`${reason.code} ${reason.reason}`) : reason);
        return { unsubscribe: client.subscribe(operation, { next, error: fail, complete }) };
      },
    };
  }

  function isSubscription({ operationName }, document) {
    return document?.definitions.some(
      ({ kind, operation, name }) =>
        kind === 'OperationDefinition' &&
        operation === 'subscription' &&
        (!operationName || name?.value === operationName),
    );
  }

  /** A new one each time: GraphiQL asks for the schema again when it is given another. */
  function createFetcher() {
    return (operation, { headers: written, documentAST } = {}) => {
      const own = authorizationIn(written);
      const authorization = isEmpty(own) ? developmentAuthorization : own;
      const headers = { ...withoutAuthorization(written), authorization };
      if (!isWhole(authorization)) return Promise.resolve({ errors: [{ message: NO_TOKEN }] });
      return isSubscription(operation, documentAST)
        ? follow(operation, authorization)
        : ask(operation, headers);
    };
  }

  const element = document.getElementById('graphiql');
  element.style.height = '100dvh';
  document.body.style.margin = '0';
  const root = ReactDOM.createRoot(element);

  /** `Bearer …`, or with no token where the service gives none. */
  let developmentAuthorization = 'Bearer ';

  function render() {
    const headers = JSON.stringify({ Authorization: developmentAuthorization }, null, 2);
    root.render(
      React.createElement(GraphiQL, {
        fetcher: createFetcher(),
        defaultTabs: DOCUMENTS.map((query) => ({ query, headers })),
        defaultHeaders: headers,
        defaultEditorToolsVisibility: 'headers',
        onEditHeaders,
      }),
    );
  }

  let known;
  let settled;
  /** With another token the schema may be had that could not be had before. */
  function onEditHeaders(text) {
    let authorization;
    try {
      authorization = authorizationIn(JSON.parse(text));
    } catch {
      return; // half written
    }
    clearTimeout(settled);
    if (authorization === known || !isWhole(authorization)) return;
    settled = setTimeout(() => {
      known = authorization;
      render();
    }, SETTLE_MS);
  }

  async function developmentToken() {
    const response = await fetch(new URL('development-token', endpoint));
    return response.ok ? (await response.json()).token : '';
  }

  developmentToken()
    .catch(() => '')
    .then((token) => {
      developmentAuthorization += token;
      render();
    });
}
